// SPDX-License-Identifier: GPL-2.0-only
/* Must pass everywhere. symbol: vfio_pci_core_enable */
#include <linux/dma-buf.h>
#include <linux/vfio_pci_core.h>

int probe(struct vfio_pci_core_device *vdev);
int probe(struct vfio_pci_core_device *vdev)
{
	return vdev->pdev ? vfio_pci_core_enable(vdev) : -ENODEV;
}
