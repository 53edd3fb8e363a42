// SPDX-License-Identifier: GPL-2.0-only
/* Must fail everywhere. */
#include <linux/vfio_pci_core.h>

int probe(struct vfio_pci_core_device *vdev);
int probe(struct vfio_pci_core_device *vdev)
{
	return vfio_pci_core_no_such_function(vdev);
}
