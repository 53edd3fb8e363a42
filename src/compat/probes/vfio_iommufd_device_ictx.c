// SPDX-License-Identifier: GPL-2.0-only
/* Linux 6.6, with functions that are opened without a group. */
#include <linux/vfio.h>

struct iommufd_ctx *probe(struct vfio_device *vdev);
struct iommufd_ctx *probe(struct vfio_device *vdev)
{
	return vfio_iommufd_device_ictx(vdev);
}
