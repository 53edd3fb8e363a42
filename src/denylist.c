// SPDX-License-Identifier: GPL-2.0-only
/*
 * Functions with errata by which their user can harm the machine: the kernel's
 * vfio-pci does not serve them, so neither does this one. The core asks nobody.
 */
#include <linux/moduleparam.h>

#include "dvp.h"

static bool disable_denylist;
module_param(disable_denylist, bool, 0444);
MODULE_PARM_DESC(disable_denylist, "Serve also functions with errata that let an untrusted user harm the machine. (default: false)");

static const struct pci_device_id denied[] = {
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C3XXX) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C3XXX_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C62X) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_C62X_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_DH895XCC) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_QAT_DH895XCC_VF) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_DSA_SPR0) },
	{ PCI_VDEVICE(INTEL, PCI_DEVICE_ID_INTEL_IAX_SPR0) },
	{}
};

/**
 * dvp_denylist_may_probe() - may a user have this function?
 * @pdev: the function
 *
 * Return: 0, or -EINVAL as vfio-pci does, and the log says why.
 */
int dvp_denylist_may_probe(struct pci_dev *pdev)
{
	if (!pci_match_id(denied, pdev))
		return 0;
	if (!disable_denylist) {
		pci_warn(pdev, "%04x:%04x is in the device denylist, not served (see the parameter disable_denylist)\n",
			 pdev->vendor, pdev->device);
		return -EINVAL;
	}
	pci_warn(pdev, "%04x:%04x is served although in the device denylist\n",
		 pdev->vendor, pdev->device);
	return 0;
}

/**
 * dvp_denylist_init() - as the module is loaded
 */
void __init dvp_denylist_init(void)
{
	if (disable_denylist)
		pr_warn("%s: the device denylist is disabled\n", DVP_NAME);
}
