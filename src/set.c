// SPDX-License-Identifier: GPL-2.0-only
/*
 * The functions that a hot reset takes along, as far as they are ours and the
 * caller may reset them: they are told before the core is asked, all at once.
 *
 * The core looks at the caller's argument again, and decides: a function that
 * is missing here is waited for when it hears of the reset, one by one. So what
 * counts is that nobody is told here at the wish of somebody else's owner.
 */
#include <linux/file.h>
#include <linux/slab.h>

#include "dvp.h"

static struct dvp_device *gate_to_dvp(struct dvp_gate *gate)
{
	return container_of(gate, struct dvp_device, gate);
}

/* Would a reset of the one's slot, or else of its bus, reset the other? */
static bool resets(struct pci_dev *pdev, struct pci_dev *other)
{
	bool slot = !pci_probe_reset_slot(pdev->slot);

	for (; other; other = other->bus->self)
		if (other->bus == pdev->bus)
			return !slot || other->slot == pdev->slot;
	return false;
}

struct proof {
	struct file **files;
	unsigned int nr;
};

static bool proves(const struct proof *proof, struct dvp_device *dvp)
{
	unsigned int i;

	for (i = 0; i < proof->nr; i++)
		if (vfio_file_has_dev(proof->files[i], &dvp->core.vdev))
			return true;
	return false;
}

static bool owns(struct dvp_device *dvp, struct dvp_device *other,
		 const struct proof *proof)
{
	return dvp == other ||
	       dvp->core.pdev->dev.iommu_group ==
	       other->core.pdev->dev.iommu_group ||
	       (proof->nr ? proves(proof, other) :
			    dvp_same_iommufd(&dvp->core.vdev,
					     &other->core.vdev));
}

static void put_proof(struct proof *proof)
{
	while (proof->nr)
		fput(proof->files[--proof->nr]);
	kfree(proof->files);
}

struct unclaimed {
	struct pci_dev *pdev;
	bool found;
};

static int find_unclaimed(struct pci_dev *other, void *data)
{
	struct unclaimed *unclaimed = data;

	if (!other->dev.driver && resets(unclaimed->pdev, other))
		unclaimed->found = true;
	return unclaimed->found;
}

/*
 * Only a caller who has every function that is reset gets the set: one
 * that no driver has is nobody's, and one of ours must be proven.
 */
static bool owns_all(struct dvp_device *dvp, const struct proof *proof)
{
	struct unclaimed unclaimed = { .pdev = dvp->core.pdev };
	struct dvp_gate *gate = NULL;

	pci_walk_bus(dvp->core.pdev->bus, find_unclaimed, &unclaimed);
	while ((gate = dvp_gate_next(gate))) {
		struct dvp_device *other = gate_to_dvp(gate);

		if (resets(dvp->core.pdev, other->core.pdev) &&
		    !owns(dvp, other, proof))
			unclaimed.found = true;
	}
	return !unclaimed.found;
}

/* Bad descriptors prove nothing; the core says what is wrong with them. */
static int get_proof(struct proof *proof,
		     const struct vfio_pci_hot_reset __user *arg)
{
	struct vfio_pci_hot_reset reset;
	s32 *fds;
	u32 i;

	if (copy_from_user(&reset, arg, sizeof(reset)))
		return -EFAULT;
	if (!reset.count || reset.count > DVP_SET_MAX)
		return 0;
	fds = vmemdup_array_user(arg->group_fds, reset.count, sizeof(*fds));
	if (IS_ERR(fds))
		return PTR_ERR(fds);
	proof->files = kcalloc(reset.count, sizeof(*proof->files),
			       GFP_KERNEL_ACCOUNT);
	for (i = 0; proof->files && i < reset.count; i++) {
		struct file *file = fget(fds[i]);

		if (file)
			proof->files[proof->nr++] = file;
	}
	kvfree(fds);
	return proof->files ? 0 : -ENOMEM;
}

static void gather(struct dvp_set *set, struct pci_dev *pdev)
{
	struct dvp_gate *gate = NULL;

	while ((gate = dvp_gate_next(gate))) {
		if (set->nr == DVP_SET_MAX ||
		    !resets(pdev, gate_to_dvp(gate)->core.pdev))
			continue;
		dvp_gate_get(gate);
		set->gates[set->nr++] = gate;
	}
}

/**
 * dvp_set_get() - find the functions that a hot reset takes along
 * @set: out, for dvp_set_put(); none if the core is bound to refuse
 * @dvp: the function that it is asked of
 * @arg: argument of VFIO_DEVICE_PCI_HOT_RESET
 *
 * Return: 0, -EFAULT or -ENOMEM.
 */
int dvp_set_get(struct dvp_set *set, struct dvp_device *dvp,
		const struct vfio_pci_hot_reset __user *arg)
{
	struct proof proof = {};
	int ret;

	set->nr = 0;
	set->gates = kcalloc(DVP_SET_MAX, sizeof(*set->gates),
			     GFP_KERNEL_ACCOUNT);
	if (!set->gates)
		return -ENOMEM;
	ret = get_proof(&proof, arg);
	if (!ret && owns_all(dvp, &proof))
		gather(set, dvp->core.pdev);
	put_proof(&proof);
	if (ret)
		dvp_set_put(set);
	return ret;
}

/**
 * dvp_set_put() - undo dvp_set_get()
 * @set: the functions
 */
void dvp_set_put(struct dvp_set *set)
{
	while (set->nr)
		dvp_gate_put(set->gates[--set->nr]);
	kfree(set->gates);
}
