// SPDX-License-Identifier: GPL-2.0-only
/*
 * What VFIO asks of a function: note the transition, let vfio_pci_core do it,
 * settle the gate. What is not the core's alone is noinline, so that the rest
 * goes there without a stack frame.
 */
#include <linux/slab.h>

#include "dvp.h"

static void ops_put_provider(struct dvp_device *dvp)
{
	dvp_provider_put(dvp->provider);
	dvp->provider = NULL;
}

static int dvp_open_device(struct vfio_device *vdev)
{
	struct dvp_device *dvp = to_dvp(vdev);
	int ret;

	dvp->provider = dvp_provider_create(dvp->core.pdev);
	if (!dvp->provider)
		return -ENOMEM;
	ret = vfio_pci_core_enable(&dvp->core);
	if (ret) {
		ops_put_provider(dvp);
		return ret;
	}
	vfio_pci_core_finish_enable(&dvp->core);
	dvp_node_open(dvp);
	return 0;
}

static void dvp_close_device(struct vfio_device *vdev)
{
	struct dvp_gate *gate = &to_dvp(vdev)->gate;

	/* The core disables the function: nobody may be at it by then. */
	dvp_node_close(to_dvp(vdev));
	dvp_gate_close(gate);
	/* It also resets it, past reset_prepare(): VFs of it go with it. */
	dvp_gate_block(gate, DMABUF_VFIO_REASON_RESET, DVP_WAIT_FIRM);
	vfio_pci_core_close_device(vdev);
	dvp_gate_unblock(gate, DMABUF_VFIO_REASON_RESET);
	dvp_put_bars(to_dvp(vdev));
	ops_put_provider(to_dvp(vdev));
}

/*
 * The drop-in has a second request of that number, which begins with the index
 * of a BAR: less than any size. The first word decides, so it is read once.
 */
static noinline long ioctl_revoke(struct dvp_device *dvp, unsigned long arg)
{
	struct vfio_pci_dmabuf_revoke __user *user = (void __user *)arg;
	u32 argsz;
	long ret;
	s32 fd;

	BUILD_BUG_ON(sizeof(*user) <= PCI_STD_NUM_BARS);

	/* A core that knows the number has its own meaning for it. */
	ret = vfio_pci_core_ioctl(&dvp->core.vdev,
				  VFIO_DEVICE_PCI_DMABUF_REVOKE, arg);
	if (ret != -ENOTTY)
		return ret;
	if (get_user(argsz, &user->argsz))
		return -EFAULT;
	if (argsz < PCI_STD_NUM_BARS)
		return dvp_dropin_p2p(dvp, argsz, user);
	if (argsz < sizeof(*user))
		return -EINVAL;
	if (get_user(fd, &user->dmabuf_fd))
		return -EFAULT;
	return dvp_revoke(dvp, fd);
}

/*
 * Importers are told, and waited for, before the core takes its locks. The
 * core brings the function back from D3 for a reset, even if it fails then.
 */
static noinline long ioctl_reset(struct dvp_device *dvp, unsigned long arg)
{
	struct dvp_gate *gate = &dvp->gate;
	long ret = 0;

	if (dvp->core.reset_works)
		ret = dvp_gate_change(&gate, 1, DMABUF_VFIO_REASON_RESET);
	if (ret)
		return ret;
	ret = vfio_pci_core_ioctl(&dvp->core.vdev, VFIO_DEVICE_RESET, arg);
	dvp_gate_settle(gate, dvp->core.reset_works);
	return ret;
}

/* Whatever becomes of it, each function is looked at again. */
static noinline long ioctl_hot_reset(struct dvp_device *dvp, unsigned long arg)
{
	struct dvp_set set;
	unsigned int i;
	long ret;

	ret = dvp_set_get(&set, dvp, (void __user *)arg);
	if (ret)
		return ret;
	ret = dvp_gate_change(set.gates, set.nr, DMABUF_VFIO_REASON_RESET);
	if (ret)
		goto put_set;
	ret = vfio_pci_core_ioctl(&dvp->core.vdev, VFIO_DEVICE_PCI_HOT_RESET,
				  arg);
	for (i = 0; i < set.nr; i++)
		dvp_gate_settle(set.gates[i], true);
put_set:
	dvp_set_put(&set);
	return ret;
}

static long dvp_ioctl(struct vfio_device *vdev, unsigned int cmd,
		      unsigned long arg)
{
	switch (cmd) {
	case VFIO_DEVICE_RESET:
		return ioctl_reset(to_dvp(vdev), arg);
	case VFIO_DEVICE_PCI_HOT_RESET:
		return ioctl_hot_reset(to_dvp(vdev), arg);
	case VFIO_DEVICE_PCI_DMABUF_REVOKE:
		return ioctl_revoke(to_dvp(vdev), arg);
	}
	return vfio_pci_core_ioctl(vdev, cmd, arg);
}

/*
 * Two bytes of config space end the reachability of memory when written: the
 * low ones of COMMAND and of the power state's register. A VF has no decoding
 * of its own. Function level resets are config writes too, but those go
 * through reset_prepare().
 */
static loff_t ops_next_switch(struct pci_dev *pdev, loff_t pos)
{
	loff_t next = pdev->cfg_size;
	loff_t power = pdev->pm_cap + PCI_PM_CTRL;

	if (!pdev->no_command_memory && pos <= PCI_COMMAND)
		next = PCI_COMMAND;
	if (pdev->pm_cap && pos <= power)
		next = min(next, power);
	return next;
}

/* Does a write of such a byte change nothing? Waits for a reset that runs. */
static bool ops_switch_stays(struct vfio_pci_core_device *core, loff_t pos,
			     u8 value)
{
	u8 phys;

	if (core->pm_runtime_engaged || core->pdev->current_state != PCI_D0)
		return false;
	if (pos != PCI_COMMAND)
		return !(value & PCI_PM_CTRL_STATE_MASK);
	/* Of the others the core keeps no copy. */
	return !((value ^ core->vconfig[PCI_COMMAND]) &
		 (PCI_COMMAND_MEMORY | PCI_COMMAND_IO)) &&
	       !pci_user_read_config_byte(core->pdev, PCI_COMMAND, &phys) &&
	       value == phys;
}

/*
 * The core reads the byte again, and its caller may change it meanwhile: so
 * either the core never sees it, or everybody is off the function from before
 * it does until its outcome has been looked at. What follows the byte, @count
 * in all, goes with it.
 */
static ssize_t ops_write_switch(struct dvp_device *dvp, const char __user *buf,
				size_t count, loff_t *ppos)
{
	loff_t pos = *ppos & VFIO_PCI_OFFSET_MASK;
	struct dvp_gate *gate = &dvp->gate;
	u32 coming = 0;
	ssize_t ret;
	u8 value;

	if (get_user(value, (u8 __user *)buf))
		return -EFAULT;
	if (ops_switch_stays(&dvp->core, pos, value)) {
		++*ppos;
		return 1;
	}
	if (pos != PCI_COMMAND && value & PCI_PM_CTRL_STATE_MASK)
		coming = DMABUF_VFIO_REASON_D3HOT;
	else if (pos == PCI_COMMAND && !(value & PCI_COMMAND_MEMORY))
		coming = DMABUF_VFIO_REASON_MEMORY_OFF;
	ret = dvp_gate_change(&gate, 1, coming);
	if (ret)
		return ret;
	ret = vfio_pci_core_write(&dvp->core.vdev, buf, count, ppos);
	dvp_gate_settle(gate, true);
	return ret;
}

static noinline ssize_t ops_config_write(struct dvp_device *dvp,
					 const char __user *buf, size_t count,
					 loff_t *ppos)
{
	loff_t start = *ppos, pos = start & VFIO_PCI_OFFSET_MASK;
	struct pci_dev *pdev = dvp->core.pdev;
	size_t done = 0;

	/* Nothing is written where the core would refuse the whole. */
	if (pos >= pdev->cfg_size || count > pdev->cfg_size - pos)
		return -EFAULT;

	while (done < count) {
		loff_t at = pos + done;
		bool at_switch = ops_next_switch(pdev, at) == at;
		loff_t next = ops_next_switch(pdev, at + at_switch);
		size_t part = min_t(size_t, count, next - pos) - done;
		ssize_t ret;

		if (at_switch)
			ret = ops_write_switch(dvp, buf + done, part, ppos);
		else
			ret = vfio_pci_core_write(&dvp->core.vdev, buf + done,
						  part, ppos);
		if (ret <= 0) {
			*ppos = start;
			return ret;
		}
		done += ret;
	}
	return done;
}

/* Of a function that has one of them only, a few more are looked at closely. */
static bool ops_reaches_switch(struct vfio_device *vdev, loff_t ppos,
			       size_t count)
{
	u64 pos = ppos & VFIO_PCI_OFFSET_MASK;
	u64 power = to_dvp(vdev)->core.pdev->pm_cap + PCI_PM_CTRL;

	return VFIO_PCI_OFFSET_TO_INDEX(ppos) == VFIO_PCI_CONFIG_REGION_INDEX &&
	       (PCI_COMMAND - pos < count || power - pos < count);
}

static ssize_t dvp_write(struct vfio_device *vdev, const char __user *buf,
			 size_t count, loff_t *ppos)
{
	if (ops_reaches_switch(vdev, *ppos, count))
		return ops_config_write(to_dvp(vdev), buf, count, ppos);
	return vfio_pci_core_write(vdev, buf, count, ppos);
}

/*
 * For a function that is bound to iommufd a kernel's own exporter is asked, if
 * there is one: iommufd maps nobody else's buffers. A flag asks for ours.
 */
static int feature_dma_buf(struct dvp_device *dvp, u32 flags, void __user *arg,
			   size_t argsz)
{
	struct vfio_device_feature_dma_buf __user *user = arg;
	struct vfio_device_feature_dma_buf req;
	struct dvp_range *ranges;
	int ret;

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_GET,
				 sizeof(req));
	if (ret != 1)
		return ret;
	if (copy_from_user(&req, user, sizeof(req)))
		return -EFAULT;
	if (!req.flags && dvp_native_exporter(&dvp->core))
		return vfio_pci_core_ioctl_feature(&dvp->core.vdev, flags, arg,
						   argsz);
	ranges = dvp_read_ranges(&req, user, argsz);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	return dvp_export(dvp, &req, ranges);
}

static int feature_revoke(struct dvp_device *dvp, u32 flags, void __user *arg,
			  size_t argsz)
{
	struct dmabuf_vfio_feature_revoke req;
	int ret;

	ret = vfio_check_feature(flags, argsz, VFIO_DEVICE_FEATURE_SET,
				 sizeof(req));
	if (ret != 1)
		return ret;
	if (copy_from_user(&req, arg, sizeof(req)))
		return -EFAULT;
	return dvp_revoke(dvp, req.dmabuf_fd);
}

static int dvp_device_feature(struct vfio_device *vdev, u32 flags,
			      void __user *arg, size_t argsz)
{
	struct dvp_device *dvp = to_dvp(vdev);
	struct dvp_gate *gate = &dvp->gate;
	int ret;

	if (dvp_kernel_numbers_revoke(flags & VFIO_DEVICE_FEATURE_MASK))
		return feature_revoke(dvp, flags, arg, argsz);

	switch (flags & VFIO_DEVICE_FEATURE_MASK) {
	case VFIO_DEVICE_FEATURE_DMA_BUF:
		return feature_dma_buf(dvp, flags, arg, argsz);
	case DMABUF_VFIO_FEATURE_REVOKE:
		ret = vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
		/* A core that knows the number has its own meaning for it. */
		return ret == -ENOTTY ?
		       feature_revoke(dvp, flags, arg, argsz) : ret;
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY:
	case VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP:
		if (flags & VFIO_DEVICE_FEATURE_PROBE ||
		    !(flags & VFIO_DEVICE_FEATURE_SET))
			break;
		ret = dvp_gate_change(&gate, 1, DMABUF_VFIO_REASON_LOW_POWER);
		if (ret)
			return ret;
		ret = vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
		dvp_gate_settle(gate, true);
		return ret;
	case VFIO_DEVICE_FEATURE_LOW_POWER_EXIT:
		/* Only restores access; a wake-up may have come first. */
		ret = vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
		dvp_gate_settle(gate, false);
		return ret;
	}
	return vfio_pci_core_ioctl_feature(vdev, flags, arg, argsz);
}

static int dvp_mmap(struct vfio_device *vdev, struct vm_area_struct *vma)
{
	/* The ROM cannot be mapped; what follows it is not of a BAR. */
	if (vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT) <
	    PCI_STD_NUM_BARS)
		return dvp_map_bar(to_dvp(vdev), vma);
	return vfio_pci_core_mmap(vdev, vma);
}

static int dvp_init_dev(struct vfio_device *vdev)
{
	int ret;

	dvp_dropin_init_dev(&to_dvp(vdev)->core);
	ret = vfio_pci_core_init_dev(vdev);
	if (ret)
		return ret;
	dvp_native_exporter_init(&to_dvp(vdev)->core);
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
	.mmap		= dvp_mmap,
	.request	= vfio_pci_core_request,
	.match		= vfio_pci_core_match,
	DVP_VFIO_OPS_CORE
};
