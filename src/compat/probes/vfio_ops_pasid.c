// SPDX-License-Identifier: GPL-2.0-only
/* Linux 6.15. form: vfio_iommufd_physical_pasid_attach_ioas */
#include <linux/vfio.h>

extern const struct vfio_device_ops probe;
const struct vfio_device_ops probe = {
	.pasid_attach_ioas	= vfio_iommufd_physical_pasid_attach_ioas,
	.pasid_detach_ioas	= vfio_iommufd_physical_pasid_detach_ioas,
};
