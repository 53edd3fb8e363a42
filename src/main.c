// SPDX-License-Identifier: GPL-2.0-only
/*
 * dmabuf-vfio-pci: a vfio-pci variant that exports BARs as dma-bufs.
 *
 * The module and its PCI driver. A function comes here by driver_override
 * only: the id table holds one entry that matches nothing without it, and no
 * module alias is published. The drop-in, see dropin.h, has an alias and may be
 * given ids.
 */
#include <linux/moduleparam.h>

#include "dvp.h"

static bool enable_sriov;
module_param(enable_sriov, bool, 0644);
MODULE_PARM_DESC(enable_sriov, "Let sriov_numvfs create VFs of a bound PF. They come bound to this driver. (default: false)");

/* What vfio_pci_core set as the driver's power management; one for all. */
static const struct dev_pm_ops *core_pm;

static int dvp_runtime_suspend(struct device *dev)
{
	return core_pm->runtime_suspend(dev);
}

/* A wake-up takes the function out of low power without a call by the user. */
static int dvp_runtime_resume(struct device *dev)
{
	int ret = core_pm->runtime_resume(dev);

	dvp_gate_settle(&pdev_to_dvp(to_pci_dev(dev))->gate, false);
	return ret;
}

static const struct dev_pm_ops dvp_pm_ops = {
	RUNTIME_PM_OPS(dvp_runtime_suspend, dvp_runtime_resume, NULL)
};

/*
 * The core sets the driver's power management whenever it registers a
 * function. A wake-up of another one in between is found when that settles.
 * Functions are probed side by side: somebody else may have been here since
 * the core was.
 */
static void wrap_pm(struct device_driver *driver)
{
	const struct dev_pm_ops *pm = READ_ONCE(driver->pm);

	if (pm == &dvp_pm_ops)
		return;
	WRITE_ONCE(core_pm, pm);
	WRITE_ONCE(driver->pm, &dvp_pm_ops);
}

static int dvp_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct dvp_device *dvp;
	int ret;

	ret = dvp_dropin_may_probe(pdev);
	if (ret)
		return ret;

	dvp = vfio_alloc_device(dvp_device, core.vdev, &pdev->dev, &dvp_ops);
	if (IS_ERR(dvp))
		return PTR_ERR(dvp);

	/* Before anybody can open the function: its node hears of that. */
	ret = dvp_node_add(dvp);
	if (ret)
		goto err_put;
	dev_set_drvdata(&pdev->dev, &dvp->core);
	ret = vfio_pci_core_register_device(&dvp->core);
	if (ret)
		goto err_node;
	wrap_pm(pdev->dev.driver);
	dvp_debugfs_add(dvp);
	return 0;

err_node:
	dvp_node_del(dvp);
err_put:
	vfio_put_device(&dvp->core.vdev);
	return ret;
}

static void dvp_remove(struct pci_dev *pdev)
{
	struct dvp_device *dvp = pdev_to_dvp(pdev);

	/*
	 * Unbinding waits until the user has closed the function, and it serves
	 * until then. Unplugged, it does not.
	 */
	if (!pci_device_is_present(pdev))
		dvp_gate_block(&dvp->gate, DVP_GONE);
	vfio_pci_core_unregister_device(&dvp->core);
	dvp_debugfs_del(dvp);
	dvp_node_del(dvp);
	vfio_put_device(&dvp->core.vdev);
}

/* Called with the device lock held, and by the core with its memory_lock. */
static void dvp_reset_prepare(struct pci_dev *pdev)
{
	dvp_gate_block(&pdev_to_dvp(pdev)->gate, DVP_RESET);
}

static void dvp_reset_done(struct pci_dev *pdev)
{
	dvp_gate_unblock(&pdev_to_dvp(pdev)->gate, DVP_RESET);
}

/*
 * Any error may end with a link reset, if another function below the port
 * wants one: nobody is let in before it is over.
 */
static pci_ers_result_t dvp_error_detected(struct pci_dev *pdev,
					   pci_channel_state_t state)
{
	dvp_gate_block(&pdev_to_dvp(pdev)->gate, DVP_ERROR);
	return vfio_pci_core_aer_err_detected(pdev, state);
}

static void dvp_error_resume(struct pci_dev *pdev)
{
	dvp_gate_unblock(&pdev_to_dvp(pdev)->gate, DVP_ERROR);
}

static const struct pci_error_handlers dvp_err_handlers = {
	.error_detected	= dvp_error_detected,
	.resume		= dvp_error_resume,
	.reset_prepare	= dvp_reset_prepare,
	.reset_done	= dvp_reset_done,
};

static int dvp_sriov_configure(struct pci_dev *pdev, int nr_virtfn)
{
	struct dvp_device *dvp = pdev_to_dvp(pdev);
	int ret;

	if (!enable_sriov)
		return -ENOENT;
	/* It wakes the function up. */
	ret = vfio_pci_core_sriov_configure(&dvp->core, nr_virtfn);
	dvp_gate_settle(&dvp->gate, false);
	return ret;
}

/* No MODULE_DEVICE_TABLE: nothing is to load or pick this driver by itself. */
static const struct pci_device_id dvp_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(PCI_ANY_ID, PCI_ANY_ID) },
	{}
};

static struct pci_driver dvp_driver = {
	.name			= DVP_NAME,
	.id_table		= dvp_ids,
	.probe			= dvp_probe,
	.remove			= dvp_remove,
	.sriov_configure	= dvp_sriov_configure,
	.err_handler		= &dvp_err_handlers,
	.driver_managed_dma	= true,
};

static int __init dvp_init(void)
{
	int ret;

	ret = dvp_node_init();
	if (ret)
		return ret;
	dvp_dropin_init();
	dvp_debugfs_init();
	ret = pci_register_driver(&dvp_driver);
	if (ret) {
		dvp_debugfs_exit();
		dvp_node_exit();
		return ret;
	}
	dvp_dropin_add_ids(&dvp_driver);
	return 0;
}
module_init(dvp_init);

static void __exit dvp_exit(void)
{
	pci_unregister_driver(&dvp_driver);
	dvp_debugfs_exit();
	dvp_node_exit();
}
module_exit(dvp_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The dmabuf-vfio-pci authors");
MODULE_DESCRIPTION("VFIO PCI driver that exports BARs as dma-bufs");
MODULE_IMPORT_NS("DMA_BUF");
