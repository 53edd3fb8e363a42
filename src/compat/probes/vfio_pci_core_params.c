// SPDX-License-Identifier: GPL-2.0-only
/* Linux 7.3: a function has its own, set before vfio_pci_core_init_dev(). */
#include <linux/vfio_pci_core.h>

void probe(struct vfio_pci_core_device *vdev);
void probe(struct vfio_pci_core_device *vdev)
{
	vdev->nointxmask = true;
	vdev->disable_vga = true;
	vdev->disable_idle_d3 = true;
}
