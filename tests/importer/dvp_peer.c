// SPDX-License-Identifier: GPL-2.0-only
/*
 * dvp_peer: a driver for the function beside the one under test. It takes its
 * time over PCIe errors, and says when it was called. Binds by driver_override
 * only. Its parameters are its interface:
 *
 *	detected_ms	error_detected() takes that long
 *	detected_ns	CLOCK_MONOTONIC when error_detected() was last called
 *	resumed_ns	the same of resume()
 *	lowers		write a function's address: the kernel takes it for one
 *			that has D1 and D2
 *	ungrouped	write one's address: it has no IOMMU group until
 *			something else is written
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/pci.h>

static unsigned int detected_ms;
module_param(detected_ms, uint, 0644);

static unsigned long long detected_ns;
module_param(detected_ns, ullong, 0644);

static unsigned long long resumed_ns;
module_param(resumed_ns, ullong, 0644);

static struct pci_dev *get_pdev(const char *bdf)
{
	unsigned int domain, bus, dev, fn;

	if (sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &dev, &fn) != 4)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(dev, fn));
}

static int lowers_set(const char *val, const struct kernel_param *kp)
{
	struct pci_dev *pdev = get_pdev(val);

	if (!pdev)
		return -ENODEV;
	pdev->d1_support = 1;
	pdev->d2_support = 1;
	pci_dev_put(pdev);
	return 0;
}

static const struct kernel_param_ops lowers_ops = {
	.set = lowers_set,
};
module_param_cb(lowers, &lowers_ops, NULL, 0200);

static struct pci_dev *ungrouped;
static struct iommu_group *group_of_it;

/* VFIO does not take it then: a probe that fails at its very end. */
static int ungrouped_set(const char *val, const struct kernel_param *kp)
{
	if (ungrouped) {
		ungrouped->dev.iommu_group = group_of_it;
		pci_dev_put(ungrouped);
	}
	ungrouped = get_pdev(val);
	if (ungrouped) {
		group_of_it = ungrouped->dev.iommu_group;
		ungrouped->dev.iommu_group = NULL;
	}
	return 0;
}

static const struct kernel_param_ops ungrouped_ops = {
	.set = ungrouped_set,
};
module_param_cb(ungrouped, &ungrouped_ops, NULL, 0200);

static pci_ers_result_t dvp_peer_detected(struct pci_dev *pdev,
					  pci_channel_state_t state)
{
	WRITE_ONCE(detected_ns, ktime_get_ns());
	msleep(READ_ONCE(detected_ms));
	return PCI_ERS_RESULT_CAN_RECOVER;
}

/* The link may have been reset. */
static void dvp_peer_resume(struct pci_dev *pdev)
{
	pci_restore_state(pdev);
	pci_save_state(pdev);
	WRITE_ONCE(resumed_ns, ktime_get_ns());
}

static const struct pci_error_handlers dvp_peer_err_handlers = {
	.error_detected	= dvp_peer_detected,
	.resume		= dvp_peer_resume,
};

static int dvp_peer_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	return pci_save_state(pdev);
}

static void dvp_peer_remove(struct pci_dev *pdev)
{
}

static const struct pci_device_id dvp_peer_ids[] = {
	{ }
};

static struct pci_driver dvp_peer_driver = {
	.name			= KBUILD_MODNAME,
	.id_table		= dvp_peer_ids,
	.probe			= dvp_peer_probe,
	.remove			= dvp_peer_remove,
	.err_handler		= &dvp_peer_err_handlers,
	/* Beside a function that a user has, in one group with it. */
	.driver_managed_dma	= true,
};
module_pci_driver(dvp_peer_driver);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The dmabuf-vfio-pci authors");
MODULE_DESCRIPTION("A neighbour of the function under test");
