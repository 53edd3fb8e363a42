// SPDX-License-Identifier: GPL-2.0-only
/*
 * What makes the module a vfio-pci that can stand in for the kernel's own: its
 * parameters, its alias, a request of SPDK's and what it does not serve.
 */
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "dvp.h"

/* Where the firmware of an Intel graphics function says its OpRegion is. */
#define IGD_ASLS	0xfc

static char ids[1024] __initdata;
module_param_string(ids, ids, sizeof(ids), 0);
MODULE_PARM_DESC(ids, "Functions to bind when the module is loaded: vendor:device[:subvendor[:subdevice[:class[:class_mask]]]], hexadecimal, more of them after commas");

static bool nointxmask;
module_param(nointxmask, bool, 0644);
MODULE_PARM_DESC(nointxmask, "Do not mask INTx by the function's own bit, as if none had one. (default: false)");

static bool disable_vga;
module_param(disable_vga, bool, 0444);
MODULE_PARM_DESC(disable_vga, "No access to legacy VGA ranges. (default: false)");

static bool disable_idle_d3;
module_param(disable_idle_d3, bool, 0644);
MODULE_PARM_DESC(disable_idle_d3, "Leave functions that nobody uses in D0. (default: false)");

/* By this alias programs find out which module serves any PCI function. */
static const struct pci_device_id any[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{}
};
MODULE_DEVICE_TABLE(pci, any);

/*
 * Graphics that are part of an Intel processor have more regions than BARs,
 * and only the kernel's vfio-pci can make them. An Intel card has no OpRegion
 * and needs none.
 */
static bool is_igd(struct pci_dev *pdev)
{
	u32 asls;

	return IS_ENABLED(CONFIG_VFIO_PCI_IGD) &&
	       pdev->vendor == PCI_VENDOR_ID_INTEL &&
	       pdev->class >> 16 == PCI_BASE_CLASS_DISPLAY &&
	       !pci_read_config_dword(pdev, IGD_ASLS, &asls) &&
	       asls && ~asls;
}

/**
 * dvp_dropin_may_probe() - may the module serve this function?
 * @pdev: the function
 *
 * Return: 0, or a negative errno, and the log says why.
 */
int dvp_dropin_may_probe(struct pci_dev *pdev)
{
	if (is_igd(pdev)) {
		pci_warn(pdev, "processor graphics are left to the kernel's own vfio-pci: load that one in place of this module\n");
		return -ENODEV;
	}
	return 0;
}

/**
 * dvp_dropin_init_dev() - give a new function the parameters of now
 * @core: the function
 */
void dvp_dropin_init_dev(struct vfio_pci_core_device *core)
{
	dvp_compat_latch_params(core, nointxmask, disable_vga,
				disable_idle_d3);
}

/**
 * dvp_dropin_p2p() - export a slice of a BAR, as SPDK asks for it
 * @dvp: an open function
 * @bar: the request's first word
 * @arg: struct dmabuf_vfio_p2p of the caller
 *
 * Context: may sleep. The function cannot be closed meanwhile.
 *
 * Return: a new file descriptor, or as said at struct
 * vfio_device_feature_dma_buf.
 */
int dvp_dropin_p2p(struct dvp_device *dvp, u32 bar, void __user *arg)
{
	const size_t read = offsetofend(struct dmabuf_vfio_p2p, region_index);
	struct vfio_device_feature_dma_buf req = { .nr_ranges = 1 };
	struct dmabuf_vfio_p2p p2p;
	struct dvp_range *range;
	u64 size;
	int ret;

	BUILD_BUG_ON(DMABUF_VFIO_P2P != VFIO_DEVICE_PCI_DMABUF_REVOKE);

	if (copy_from_user((void *)&p2p + read, arg + read,
			   sizeof(p2p) - read))
		return -EFAULT;
	ret = dvp_check_bar(dvp, &bar);
	if (ret)
		return ret;
	req.region_index = bar;
	req.open_flags = p2p.open_flags;
	range = dvp_alloc_ranges(1);
	if (!range)
		return -ENOMEM;
	range->offset = p2p.offset;
	range->length = p2p.length;
	size = pci_resource_len(dvp->core.pdev, bar);
	if (!range->length && range->offset < size)
		range->length = size - range->offset;
	return dvp_export(dvp, &req, range);
}

/**
 * dvp_dropin_init() - as the module is loaded, before the driver is known
 */
void __init dvp_dropin_init(void)
{
	dvp_compat_set_params(nointxmask, disable_vga, disable_idle_d3);
}

static void __init add_id(struct pci_driver *driver, const char *text)
{
	unsigned int vendor, device, class = 0, mask = 0;
	unsigned int subvendor = PCI_ANY_ID, subdevice = PCI_ANY_ID;
	int ret = -EINVAL;

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &vendor, &device, &subvendor,
		   &subdevice, &class, &mask) >= 2)
		ret = pci_add_dynid(driver, vendor, device, subvendor,
				    subdevice, class, mask, 0);
	if (ret)
		pr_warn("vfio-pci: ids: cannot add \"%s\": %d\n", text, ret);
	else
		pr_info("vfio-pci: ids: added \"%s\"\n", text);
}

/**
 * dvp_dropin_add_ids() - bind what the parameter ids names
 * @driver: the registered driver
 *
 * A bad entry is reported and does not keep the others away.
 */
void __init dvp_dropin_add_ids(struct pci_driver *driver)
{
	char *rest = ids, *id;

	while ((id = strsep(&rest, ",")))
		if (*id)
			add_id(driver, id);
}
