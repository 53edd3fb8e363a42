// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 6.19 took VFIO_DEVICE_GET_REGION_INFO out of the ioctl op.
 * form: vfio_pci_ioctl_get_region_info
 */
#include <linux/vfio_pci_core.h>

extern const struct vfio_device_ops probe;
const struct vfio_device_ops probe = {
	.get_region_info_caps	= vfio_pci_ioctl_get_region_info,
};
