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
	return READ_ONCE(core_pm)->runtime_suspend(dev);
}

/* A wake-up takes the function out of low power without a call by the user. */
static int dvp_runtime_resume(struct device *dev)
{
	int ret = READ_ONCE(core_pm)->runtime_resume(dev);

	dvp_gate_settle(&pdev_to_dvp(to_pci_dev(dev))->gate, false);
	return ret;
}

/*
 * The PCI core takes the function out of D0. Processes do not run by now: an
 * importer that waits for one, and that nothing can cut off, ends the attempt.
 */
static int dvp_suspend(struct device *dev)
{
	struct dvp_gate *gate = &pdev_to_dvp(to_pci_dev(dev))->gate;
	int ret;

	ret = dvp_gate_block(gate, DMABUF_VFIO_REASON_SLEEP, DVP_WAIT_GRACE);
	if (ret)
		dvp_gate_unblock(gate, DMABUF_VFIO_REASON_SLEEP);
	return ret;
}

static int dvp_resume(struct device *dev)
{
	dvp_gate_unblock(&pdev_to_dvp(to_pci_dev(dev))->gate,
			 DMABUF_VFIO_REASON_SLEEP);
	return 0;
}

static const struct dev_pm_ops dvp_pm_ops = {
	RUNTIME_PM_OPS(dvp_runtime_suspend, dvp_runtime_resume, NULL)
	SYSTEM_SLEEP_PM_OPS(dvp_suspend, dvp_resume)
};

/*
 * The core sets the driver's power management whenever it registers a
 * function, whether that works or not. Functions are probed side by side:
 * somebody else may have been here since the core was. A wake-up in between was
 * the core's alone, so all functions are looked at.
 */
static void wrap_pm(struct device_driver *driver)
{
	const struct dev_pm_ops *pm = READ_ONCE(driver->pm);
	struct dvp_gate *gate = NULL;

	if (!pm || pm == &dvp_pm_ops)
		return;
	WRITE_ONCE(core_pm, pm);
	WRITE_ONCE(driver->pm, &dvp_pm_ops);
	while ((gate = dvp_gate_next(gate)))
		dvp_gate_settle(gate, false);
}

static int dvp_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct dvp_device *dvp;
	int ret;

	ret = dvp_denylist_may_probe(pdev) ?: dvp_dropin_may_probe(pdev);
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
	dvp_gate_register(&dvp->gate);
	ret = vfio_pci_core_register_device(&dvp->core);
	wrap_pm(pdev->dev.driver);
	if (ret)
		goto err_gate;
	dvp_debugfs_add(dvp);
	return 0;

err_gate:
	dvp_gate_unregister(&dvp->gate);
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
	 * until then. Unplugged, it does not; its BARs are given back when the
	 * user has closed it, which waits for importers.
	 */
	if (!pci_device_is_present(pdev))
		dvp_gate_block(&dvp->gate, DMABUF_VFIO_REASON_GONE,
			       DVP_WAIT_NOT);
	vfio_pci_core_unregister_device(&dvp->core);
	dvp_gate_unregister(&dvp->gate);
	dvp_debugfs_del(dvp);
	dvp_node_del(dvp);
	vfio_put_device(&dvp->core.vdev);
}

/*
 * Called with the device lock held, and by the core with its memory_lock. What
 * an owner asks for has been waited for before; a reset by sysfs, or by another
 * driver's owner, waits here.
 */
static void dvp_reset_prepare(struct pci_dev *pdev)
{
	dvp_gate_block(&pdev_to_dvp(pdev)->gate, DMABUF_VFIO_REASON_RESET,
		       DVP_WAIT_FIRM);
}

static void dvp_reset_done(struct pci_dev *pdev)
{
	dvp_gate_unblock(&pdev_to_dvp(pdev)->gate, DMABUF_VFIO_REASON_RESET);
}

/*
 * Any error may end with a link reset, if another function below the port
 * wants one: nobody is let in before it is over. Nobody is waited for: an
 * importer may be a function that hears of the error after this one.
 */
static pci_ers_result_t dvp_error_detected(struct pci_dev *pdev,
					   pci_channel_state_t state)
{
	dvp_gate_block(&pdev_to_dvp(pdev)->gate, DMABUF_VFIO_REASON_ERROR,
		       DVP_WAIT_NOT);
	return vfio_pci_core_aer_err_detected(pdev, state);
}

static void dvp_error_resume(struct pci_dev *pdev)
{
	dvp_gate_recovered(&pdev_to_dvp(pdev)->gate);
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

/* No MODULE_DEVICE_TABLE: the driver is never loaded or bound automatically. */
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

	ret = dvp_paths_init();
	if (ret)
		return ret;
	ret = dvp_buffers_init();
	if (ret)
		goto err_paths;
	ret = dvp_gates_init();
	if (ret)
		goto err_buffers;
	ret = dvp_node_init();
	if (ret)
		goto err_gates;
	dvp_denylist_init();
	dvp_dropin_init();
	dvp_debugfs_init();
	ret = pci_register_driver(&dvp_driver);
	if (ret)
		goto err_node;
	dvp_dropin_add_ids(&dvp_driver);
	return 0;

err_node:
	dvp_debugfs_exit();
	dvp_node_exit();
err_gates:
	dvp_gates_exit();
err_buffers:
	dvp_buffers_exit();
err_paths:
	dvp_paths_exit();
	return ret;
}
module_init(dvp_init);

static void __exit dvp_exit(void)
{
	pci_unregister_driver(&dvp_driver);
	dvp_debugfs_exit();
	dvp_node_exit();
	dvp_gates_exit();
	dvp_buffers_exit();
	dvp_paths_exit();
}
module_exit(dvp_exit);

MODULE_LICENSE("GPL");
MODULE_VERSION(DVP_VERSION);
MODULE_INFO(revision, DVP_REVISION);
MODULE_AUTHOR("The dmabuf-vfio-pci authors");
MODULE_DESCRIPTION("VFIO PCI driver that exports BARs as dma-bufs");
MODULE_IMPORT_NS("DMA_BUF");
