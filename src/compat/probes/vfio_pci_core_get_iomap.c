// SPDX-License-Identifier: GPL-2.0-only
/* Linux 7.2: vfio_pci_core_enable() reserves and maps the BARs. */
#include <linux/vfio_pci_core.h>

void __iomem *probe(struct vfio_pci_core_device *vdev);
void __iomem *probe(struct vfio_pci_core_device *vdev)
{
	return vfio_pci_core_get_iomap(vdev, 0);
}
