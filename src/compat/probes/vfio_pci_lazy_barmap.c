// SPDX-License-Identifier: GPL-2.0-only
/* Earlier: the first user of a BAR does. one-of: vfio_pci_core_get_iomap */
#include <linux/vfio_pci_core.h>

void __iomem *probe(struct vfio_pci_core_device *vdev);
void __iomem *probe(struct vfio_pci_core_device *vdev)
{
	return vdev->barmap[0];
}
