// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 6.19, with the core's own exporter.
 * form: vfio_pci_core_get_dmabuf_phys
 */
#include <linux/vfio_pci_core.h>

extern const struct vfio_pci_device_ops probe;
const struct vfio_pci_device_ops probe = {
	.get_dmabuf_phys = vfio_pci_core_get_dmabuf_phys,
};

void probe_set(struct vfio_pci_core_device *vdev);
void probe_set(struct vfio_pci_core_device *vdev)
{
	vdev->pci_ops = &probe;
}
