// SPDX-License-Identifier: GPL-2.0-only
/*
 * What VFIO asks of a function: note the transition, let vfio_pci_core do it,
 * settle the gate.
 */
#include <linux/slab.h>

#include "dvp.h"

static int dvp_open_device(struct vfio_device *vdev)
{
	struct dvp_device *dvp = to_dvp(vdev);
	int ret;

	ret = vfio_pci_core_enable(&dvp->core);
	if (ret)
		return ret;

	/* Without a path there are no routes: say so, and serve the rest. */
	if (dvp_path_read(dvp->core.pdev, &dvp->path))
		pci_warn(dvp->core.pdev,
			 "PCI tree is too deep: exported BARs have no route\n");
	vfio_pci_core_finish_enable(&dvp->core);
	dvp_gate_open(&dvp->gate);
	return 0;
}

static void dvp_close_device(struct vfio_device *vdev)
{
	/* The core disables the function: nobody may be at it by then. */
	dvp_gate_close(&to_dvp(vdev)->gate);
	vfio_pci_core_close_device(vdev);
}

/*
 * A reset goes through reset_prepare() and reset_done(), whoever asks for it.
 * The core brings the function back from D3 for it, even if it fails then.
 */
static long dvp_ioctl(struct vfio_device *vdev, unsigned int cmd,
		      unsigned long arg)
{
	long ret = vfio_pci_core_ioctl(vdev, cmd, arg);

	if (cmd == VFIO_DEVICE_RESET || cmd == VFIO_DEVICE_PCI_HOT_RESET)
		dvp_gate_settle(&to_dvp(vdev)->gate, false);
	return ret;
}

/**
 * struct config_write - what a write says to one byte of config space
 * @hit: it writes that byte
 * @value: what it writes there
 */
struct config_write {
	bool hit;
	u8 value;
};

static int peek_write(const char __user *buf, size_t count, loff_t pos,
		      u16 byte, struct config_write *write)
{
	write->hit = pos <= byte && byte - pos < count;
	if (write->hit && get_user(write->value, (u8 __user *)buf + byte - pos))
		return -EFAULT;
	return 0;
}

/*
 * Two registers end the reachability of memory when written: COMMAND and the
 * power state. Function level resets are config writes too, but those go
 * through reset_prepare(). The core takes a write apart into what hits a
 * register and what does not; the byte that counts is looked at here before.
 * A user who changes it meanwhile is found out when the gate settles.
 */
static ssize_t config_write(struct dvp_device *dvp, const char __user *buf,
			    size_t count, loff_t *ppos)
{
	loff_t pos = *ppos & VFIO_PCI_OFFSET_MASK;
	struct pci_dev *pdev = dvp->core.pdev;
	struct config_write command, power = {};
	bool ends = false;
	ssize_t ret;

	if (peek_write(buf, count, pos, PCI_COMMAND, &command) ||
	    (pdev->pm_cap &&
	     peek_write(buf, count, pos, pdev->pm_cap + PCI_PM_CTRL, &power)))
		return -EFAULT;

	if (command.hit && !pdev->no_command_memory)
		ends |= !(command.value & PCI_COMMAND_MEMORY);
	if (power.hit)
		ends |= (power.value & PCI_PM_CTRL_STATE_MASK) ==
			(__force int)PCI_D3hot;

	if (ends)
		dvp_gate_change(&dvp->gate);
	ret = vfio_pci_core_write(&dvp->core.vdev, buf, count, ppos);
	if (command.hit || power.hit)
		dvp_gate_settle(&dvp->gate, ends);
	return ret;
}

static ssize_t dvp_write(struct vfio_device *vdev, const char __user *buf,
			 size_t count, loff_t *ppos)
{
	if (VFIO_PCI_OFFSET_TO_INDEX(*ppos) == VFIO_PCI_CONFIG_REGION_INDEX)
		return config_write(to_dvp(vdev), buf, count, ppos);
	return vfio_pci_core_write(vdev, buf, count, ppos);
}

static int feature_dma_buf(struct dvp_device *dvp, u32 flags, void __user *arg,
			   size_t argsz)
{
	struct vfio_device_feature_dma_buf __user *user = arg;
	struct vfio_device_feature_dma_buf req;
	struct dvp_range *ranges;
	int ret;

	BUILD_BUG_ON(sizeof(*ranges) != sizeof(*user->dma_ranges));

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET,
				 sizeof(req));
	if (ret != 1)
		return ret;
	if (copy_from_user(&req, user, sizeof(req)))
		return -EFAULT;
	if (req.nr_ranges > (argsz - sizeof(req)) / sizeof(*ranges))
		return -EINVAL;
	if (req.nr_ranges > DVP_MAX_RANGES)
		return -ENOSPC;

	ranges = vmemdup_array_user(user->dma_ranges, req.nr_ranges,
				    sizeof(*ranges));
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	ret = dvp_export(dvp, &req, ranges);
	kvfree(ranges);
	return ret;
}

static int dvp_device_feature(struct vfio_device *vdev, u32 flags,
			      void __user *arg, size_t argsz)
{
	struct dvp_device *dvp = to_dvp(vdev);
	int ret;

	switch (flags & VFIO_DEVICE_FEATURE_MASK) {
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		return feature_dma_buf(dvp, flags, arg, argsz);
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
		if (flags & VFIO_DEVICE_FEATURE_PROBE ||
		    !(flags & VFIO_DEVICE_FEATURE_SET))
			break;
		dvp_gate_change(&dvp->gate);
		ret = vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
		dvp_gate_settle(&dvp->gate, true);
		return ret;
	case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
		/* To the better, or nothing: a wake-up may have come first. */
		ret = vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
		dvp_gate_settle(&dvp->gate, false);
		return ret;
	}
	return vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
}

static int dvp_init_dev(struct vfio_device *vdev)
{
	int ret;

	ret = vfio_pci_core_init_dev(vdev);
	if (ret)
		return ret;
	dvp_gate_init(&to_dvp(vdev)->gate);
	dvp_gate_prime(to_dvp(vdev));
	return 0;
}

const struct vfio_device_ops dvp_ops = {
	.name		= DVP_NAME,
	.init		= dvp_init_dev,
	.release	= vfio_pci_core_release_dev,
	.open_device	= dvp_open_device,
	.close_device	= dvp_close_device,
	.ioctl		= dvp_ioctl,
	.device_feature	= dvp_device_feature,
	.read		= vfio_pci_core_read,
	.write		= dvp_write,
	.mmap		= vfio_pci_core_mmap,
	.request	= vfio_pci_core_request,
	.match		= vfio_pci_core_match,
	DVP_VFIO_OPS_CORE
};
