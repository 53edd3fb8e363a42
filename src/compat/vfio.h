/* SPDX-License-Identifier: GPL-2.0-only */
/* vfio_pci_core and the members of struct vfio_device_ops. */
#ifndef DVP_COMPAT_VFIO_H
#define DVP_COMPAT_VFIO_H

#include <linux/vfio_pci_core.h>

#ifndef DVP_HAVE_VFIO_PCI_CORE_GET_IOMAP
/*
 * The newest core reserves and maps all BARs when it enables the function;
 * this one leaves it to the first user of each, without a lock. Do it at the
 * same place as the newest does, before anybody else has the function. The
 * core takes a filled slot for its own work and releases it when it disables.
 */
static inline int dvp_compat_core_enable(struct vfio_pci_core_device *vdev)
{
	struct pci_dev *pdev = vdev->pdev;
	int ret, bar;

	ret = vfio_pci_core_enable(vdev);
	if (ret)
		return ret;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (vdev->barmap[bar] || !pci_resource_len(pdev, bar) ||
		    pci_request_selected_regions(pdev, 1 << bar, "vfio"))
			continue;
		vdev->barmap[bar] = pci_iomap(pdev, bar, 0);
		if (!vdev->barmap[bar])
			pci_release_selected_regions(pdev, 1 << bar);
	}
	return 0;
}

#define vfio_pci_core_enable	dvp_compat_core_enable

static inline void __iomem *
vfio_pci_core_get_iomap(struct vfio_pci_core_device *vdev, unsigned int bar)
{
	return vdev->barmap[bar] ?: IOMEM_ERR_PTR(-EBUSY);
}
#endif

/*
 * The core's own exporter. Its buffers are the only ones that iommufd maps, and
 * it works for a function that says how physical ranges are found.
 */
#if defined(DVP_HAVE_VFIO_PCI_DEVICE_OPS) && IS_ENABLED(CONFIG_VFIO_PCI_DMABUF)
static const struct vfio_pci_device_ops dvp_vfio_pci_device_ops = {
	.get_dmabuf_phys = vfio_pci_core_get_dmabuf_phys,
};

static inline void dvp_native_exporter_init(struct vfio_pci_core_device *vdev)
{
	vdev->pci_ops = &dvp_vfio_pci_device_ops;
}

/* Is the function bound to iommufd, and has the core an exporter for it? */
static inline bool dvp_native_exporter(struct vfio_pci_core_device *vdev)
{
#if IS_ENABLED(CONFIG_IOMMUFD)
	return vdev->vdev.iommufd_device;
#else
	return false;
#endif
}
#else
static inline void dvp_native_exporter_init(struct vfio_pci_core_device *vdev)
{
}

static inline bool dvp_native_exporter(struct vfio_pci_core_device *vdev)
{
	return false;
}
#endif

/*
 * Is an open function bound to the same iommufd as another one, so that they
 * have one owner? The other one may be bound and closed meanwhile, under the
 * lock of its set. It has none while it is probed.
 */
static inline bool dvp_same_iommufd(struct vfio_device *open,
				    struct vfio_device *other)
{
#if IS_ENABLED(CONFIG_IOMMUFD) && defined(DVP_HAVE_VFIO_IOMMUFD_DEVICE_ICTX)
	struct iommufd_ctx *ictx = vfio_iommufd_device_ictx(open);
	struct vfio_device_set *set = READ_ONCE(other->dev_set);
	bool same;

	if (!ictx || !set)
		return false;
	mutex_lock(&set->lock);
	same = ictx == vfio_iommufd_device_ictx(other);
	mutex_unlock(&set->lock);
	return same;
#else
	return false;
#endif
}

/* Is that feature the revoke, by a number of the kernel's own? */
static inline bool dvp_kernel_numbers_revoke(u32 feature)
{
#ifdef VFIO_DEVICE_FEATURE_DMA_BUF_REVOKE
	return feature == VFIO_DEVICE_FEATURE_DMA_BUF_REVOKE;
#else
	return false;
#endif
}

static inline bool dvp_kernel_has_exporter(void)
{
#ifdef DVP_HAVE_VFIO_PCI_DEVICE_OPS
	return IS_ENABLED(CONFIG_VFIO_PCI_DMABUF);
#else
	return false;
#endif
}

/*
 * What administrators set by vfio-pci's parameters. On the newest kernel each
 * function takes it over as it is made, on older ones the core once for all
 * functions, as the module is loaded.
 */
static inline void dvp_compat_set_params(bool nointxmask, bool disable_vga,
					 bool disable_idle_d3)
{
#ifdef DVP_HAVE_VFIO_PCI_CORE_SET_PARAMS
	vfio_pci_core_set_params(nointxmask,
				 disable_vga ||
				 !IS_ENABLED(CONFIG_VFIO_PCI_VGA),
				 disable_idle_d3);
#endif
}

static inline void dvp_compat_latch_params(struct vfio_pci_core_device *vdev,
					   bool nointxmask, bool disable_vga,
					   bool disable_idle_d3)
{
#ifndef DVP_HAVE_VFIO_PCI_CORE_SET_PARAMS
	vdev->nointxmask = nointxmask;
	vdev->disable_vga = disable_vga;
	vdev->disable_idle_d3 = disable_idle_d3;
#endif
}

/* What a physical PCI function does for iommufd, as far as this kernel asks. */
#ifdef DVP_HAVE_VFIO_OPS_IOMMUFD
#define DVP_VFIO_OPS_IOMMUFD						\
	.bind_iommufd		= vfio_iommufd_physical_bind,		\
	.unbind_iommufd		= vfio_iommufd_physical_unbind,		\
	.attach_ioas		= vfio_iommufd_physical_attach_ioas,	\
	.detach_ioas		= vfio_iommufd_physical_detach_ioas,
#else
#define DVP_VFIO_OPS_IOMMUFD
#endif

#ifdef DVP_HAVE_VFIO_OPS_PASID
#define DVP_VFIO_OPS_PASID						\
	.pasid_attach_ioas	= vfio_iommufd_physical_pasid_attach_ioas, \
	.pasid_detach_ioas	= vfio_iommufd_physical_pasid_detach_ioas,
#else
#define DVP_VFIO_OPS_PASID
#endif

#ifdef DVP_HAVE_VFIO_OPS_REGION_INFO_CAPS
#define DVP_VFIO_OPS_REGION_INFO					\
	.get_region_info_caps	= vfio_pci_ioctl_get_region_info,
#else
#define DVP_VFIO_OPS_REGION_INFO
#endif

#ifdef DVP_HAVE_VFIO_OPS_MATCH_TOKEN_UUID
#define DVP_VFIO_OPS_MATCH_TOKEN					\
	.match_token_uuid	= vfio_pci_core_match_token_uuid,
#else
#define DVP_VFIO_OPS_MATCH_TOKEN
#endif

/* The members of struct vfio_device_ops that the core added over time. */
#define DVP_VFIO_OPS_CORE						\
	DVP_VFIO_OPS_IOMMUFD						\
	DVP_VFIO_OPS_PASID						\
	DVP_VFIO_OPS_REGION_INFO					\
	DVP_VFIO_OPS_MATCH_TOKEN

#endif /* DVP_COMPAT_VFIO_H */
