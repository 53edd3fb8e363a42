// SPDX-License-Identifier: GPL-2.0-only
/*
 * The function's own node, /dev/dmabuf-vfio/<BDF>: for a process of the owner
 * that has no VFIO descriptor.
 *
 * A node is there while the function is bound. Its object lives until the last
 * file is closed, and knows the function only while that is open through VFIO.
 * It never opens, enables or wakes up the function.
 *
 * From first open to last close the function is in one tenure of its owner. A
 * descriptor can export and revoke in the tenure that it was opened in, and in
 * no other: the next owner may be somebody else.
 */
#include <linux/cdev.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dvp.h"

#define NODE_MINORS	(MINORMASK + 1)

/**
 * struct dvp_node - the node of a function
 * @dev: its entry in sysfs and /dev; its reference count is the node's
 * @cdev: what open files hold; holds @dev
 * @lock: protects @dvp and @tenure, and keeps the function from being closed;
 *	see dvp.h
 * @dvp: the function while it is open through VFIO, or NULL
 * @tenure: number of the owner's tenure, from one; the last one while @dvp is
 *	NULL
 * @events: what happened to the function; they end when it is unbound
 */
struct dvp_node {
	struct device dev;
	struct cdev cdev;
	struct rw_semaphore lock;	/* @dvp, @tenure */
	struct dvp_device *dvp;
	u64 tenure;
	struct dvp_events events;
};

/**
 * struct dvp_reader - an open node
 * @node: the node
 * @tenure: the owner's tenure that it was opened in; zero: the function was
 *	closed; constant
 * @lock: one read(2) at a time; protects @next, which poll(2) reads without it
 * @next: number of the event that it gets next
 */
struct dvp_reader {
	struct dvp_node *node;
	u64 tenure;
	struct mutex lock;		/* one read at a time */
	u64 next;
};

static dev_t node_devt;
static DEFINE_IDA(node_minors);

static char *node_devnode(dvp_class_const struct device *dev, umode_t *mode)
{
	if (mode)
		*mode = 0600;
	return kasprintf(GFP_KERNEL, "dmabuf-vfio/%s", dev_name(dev));
}

static struct class node_class = {
	.name		= DVP_NODE_CLASS,
	.devnode	= node_devnode,
};

/* --- the function, while it is open */

/*
 * The function cannot be closed until node_put_dvp(). Closing waits for that,
 * so nothing in between may wait for an importer or for memory of a process.
 * @changes: the caller hands out memory or takes it back.
 */
static struct dvp_device *node_get_dvp(struct dvp_reader *reader, bool changes)
{
	struct dvp_node *node = reader->node;
	int err;

	down_read(&node->lock);
	if (!node->dvp)
		err = -ENODEV;
	else if (changes && reader->tenure != node->tenure)
		err = -ESTALE;
	else
		return node->dvp;
	up_read(&node->lock);
	return ERR_PTR(err);
}

static void node_put_dvp(struct dvp_reader *reader)
{
	up_read(&reader->node->lock);
}

/**
 * dvp_node_open() - the first open of the function; opens the gate, too
 * @dvp: the function, enabled
 *
 * Whoever reads of the open finds the node at work.
 *
 * Context: as dvp_gate_open().
 */
void dvp_node_open(struct dvp_device *dvp)
{
	struct dvp_node *node = dvp->node;

	down_write(&node->lock);
	node->dvp = dvp;
	node->tenure++;
	dvp_gate_open(&dvp->gate);
	up_write(&node->lock);
}

/**
 * dvp_node_close() - the last close of the function is coming
 * @dvp: the function, still enabled
 *
 * Returns when no ioctl is at the function. The gate is closed after this: a
 * buffer that an ioctl has just made is among those that die.
 *
 * Context: may sleep, but not wait for an importer.
 */
void dvp_node_close(struct dvp_device *dvp)
{
	struct dvp_node *node = dvp->node;

	down_write(&node->lock);
	node->dvp = NULL;
	up_write(&node->lock);
}

/* --- arguments */

/*
 * Each begins with these. What a newer program knows beyond @size must be
 * zero; nobody can know more than a page.
 */
struct node_head {
	u32 argsz;
	u32 flags;
};

static int read_head(struct node_head *head, const void __user *user,
		     size_t size)
{
	if (copy_from_user(head, user, sizeof(*head)))
		return -EFAULT;
	if (head->argsz < size || head->flags)
		return -EINVAL;
	return 0;
}

/*
 * Copies the head first, for the size, and then only what follows it: a caller
 * that changes the head meanwhile changes nothing.
 */
static int read_struct(void *arg, size_t size, const void __user *user)
{
	const size_t head = sizeof(struct node_head);
	int ret;

	ret = read_head(arg, user, size);
	if (ret)
		return ret;
	return copy_from_user(arg + head, user + head, size - head) ? -EFAULT :
								      0;
}

static int check_rest(const void __user *user, size_t size, size_t argsz)
{
	int ret;

	if (argsz - size > PAGE_SIZE)
		return -E2BIG;
	ret = check_zeroed_user(user + size, argsz - size);
	if (ret < 0)
		return ret;
	return ret ? 0 : -E2BIG;
}

static int read_arg(void *arg, size_t size, const void __user *user)
{
	struct node_head *head = arg;

	return read_struct(arg, size, user) ?:
	       check_rest(user, size, head->argsz);
}

static int write_arg(void __user *user, const void *arg, size_t size)
{
	return copy_to_user(user, arg, size) ? -EFAULT : 0;
}

/* --- ioctls */

static u32 capabilities(void)
{
	u32 caps = DMABUF_VFIO_CAP_WRITE_COMBINING;

	if (dvp_kernel_maps_huge())
		caps |= DMABUF_VFIO_CAP_HUGE;
	if (dvp_kernel_has_iova())
		caps |= DMABUF_VFIO_CAP_IOVA;
	if (dvp_kernel_has_exporter())
		caps |= DMABUF_VFIO_CAP_NATIVE;
	return caps;
}

static void describe_bar(struct dvp_device *dvp, u32 bar,
			 struct dmabuf_vfio_bar *info)
{
	struct pci_dev *pdev = dvp->core.pdev;
	unsigned long flags = pci_resource_flags(pdev, bar);

	info->size = pci_resource_len(pdev, bar);
	if (!info->size)
		return;
	if (flags & IORESOURCE_MEM)
		info->flags |= DMABUF_VFIO_BAR_MEMORY;
	if (flags & IORESOURCE_MEM_64)
		info->flags |= DMABUF_VFIO_BAR_64BIT;
	if (flags & IORESOURCE_PREFETCH)
		info->flags |= DMABUF_VFIO_BAR_PREFETCHABLE;
	if (info->size >= PAGE_SIZE && !dvp_check_bar(dvp, &bar))
		info->flags |= DMABUF_VFIO_BAR_EXPORTABLE;
}

static long ioctl_info(struct dvp_reader *reader, void __user *user)
{
	struct dmabuf_vfio_info info, known = {};
	struct dvp_device *dvp;
	int ret;
	u32 bar;

	ret = read_arg(&info, sizeof(info), user);
	if (ret)
		return ret;
	dvp = node_get_dvp(reader, false);
	if (IS_ERR(dvp))
		return PTR_ERR(dvp);

	known.argsz = info.argsz;
	known.abi_version = DMABUF_VFIO_ABI_VERSION;
	strscpy(known.driver_version, DVP_VERSION "+" DVP_REVISION,
		sizeof(known.driver_version));
	known.capabilities = capabilities();
	known.reasons = READ_ONCE(dvp->gate.reasons);
	known.nr_buffers = READ_ONCE(dvp->gate.nr_bufs);
	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++)
		describe_bar(dvp, bar, &known.bars[bar]);
	node_put_dvp(reader);

	return write_arg(user, &known, sizeof(known));
}

/* Copies the whole argument before it holds the function. */
static long ioctl_export(struct dvp_reader *reader, void __user *arg)
{
	struct dmabuf_vfio_export __user *user = arg;
	struct dmabuf_vfio_export export;
	struct dvp_device *dvp;
	struct dvp_range *ranges;
	long ret;

	ret = read_struct(&export, sizeof(export), user);
	if (ret)
		return ret;
	ranges = dvp_read_ranges(&export.dma_buf, &user->dma_buf,
				 export.argsz - offsetof(typeof(export),
							 dma_buf));
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);
	ret = check_rest(user, struct_size(&export, dma_buf.dma_ranges,
					   export.dma_buf.nr_ranges),
			 export.argsz);
	if (ret)
		goto free_ranges;

	dvp = node_get_dvp(reader, true);
	if (IS_ERR(dvp)) {
		ret = PTR_ERR(dvp);
		goto free_ranges;
	}
	ret = dvp_export(dvp, &export.dma_buf, ranges);
	node_put_dvp(reader);
	return ret;
free_ranges:
	kvfree(ranges);
	return ret;
}

/*
 * The wait for the importers has no end: it does without the function, which
 * may be closed meanwhile, and that waits for the same importers.
 */
static long ioctl_revoke(struct dvp_reader *reader, void __user *user)
{
	struct dmabuf_vfio_revoke revoke;
	struct dma_buf *dmabuf;
	struct dvp_device *dvp;
	int ret;

	ret = read_arg(&revoke, sizeof(revoke), user);
	if (ret)
		return ret;
	if (revoke.reserved)
		return -EINVAL;

	dvp = node_get_dvp(reader, true);
	if (IS_ERR(dvp))
		return PTR_ERR(dvp);
	dmabuf = dvp_revoke_begin(dvp, revoke.dmabuf_fd);
	node_put_dvp(reader);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	return dvp_revoke_end(dmabuf);
}

static struct pci_dev *get_client(const struct dmabuf_vfio_route *route)
{
	if (route->client_bdf > U16_MAX || route->client_domain > INT_MAX)
		return NULL;
	return pci_get_domain_bus_and_slot(route->client_domain,
					   route->client_bdf >> 8,
					   route->client_bdf & 0xff);
}

/* The tree is read without a hold on the function, by its provider. */
static struct dvp_provider *get_provider(struct dvp_reader *reader)
{
	struct dvp_device *dvp = node_get_dvp(reader, false);
	struct dvp_provider *provider;

	if (IS_ERR(dvp))
		return ERR_CAST(dvp);
	provider = dvp->provider;
	kref_get(&provider->ref);
	node_put_dvp(reader);
	return provider;
}

static long ioctl_route(struct dvp_reader *reader, void __user *user)
{
	struct dmabuf_vfio_route arg;
	struct dvp_provider *provider;
	struct pci_dev *client;
	struct dvp_route route;
	int ret;

	ret = read_arg(&arg, sizeof(arg), user);
	if (ret)
		return ret;
	if (arg.reserved)
		return -EINVAL;
	client = get_client(&arg);
	if (!client)
		return -ENOENT;
	provider = get_provider(reader);
	if (IS_ERR(provider)) {
		pci_dev_put(client);
		return PTR_ERR(provider);
	}
	route = dvp_provider_route(provider, client);
	dvp_provider_put(provider);
	pci_dev_put(client);

	arg.route = route.kind;
	arg.distance = route.distance;
	arg.reason = route.why;
	arg.reads = route.reads;
	arg.writes = route.writes;
	return write_arg(user, &arg, sizeof(arg));
}

/*
 * A descriptor that is open for reading asks and gets events, in any tenure.
 * One that is open for writing gets the function's memory, in its own tenure.
 */
static long node_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dvp_reader *reader = file->private_data;
	void __user *user = (void __user *)arg;
	struct dvp_device *dvp;
	bool changes = false;
	long (*fn)(struct dvp_reader *reader, void __user *user);

	switch (cmd) {
	case DMABUF_VFIO_INFO:
		fn = ioctl_info;
		break;
	case DMABUF_VFIO_EXPORT:
		fn = ioctl_export;
		changes = true;
		break;
	case DMABUF_VFIO_REVOKE:
		fn = ioctl_revoke;
		changes = true;
		break;
	case DMABUF_VFIO_ROUTE:
		fn = ioctl_route;
		break;
	default:
		return -ENOTTY;
	}
	if (changes && !(file->f_mode & FMODE_WRITE))
		return -EACCES;
	/* Report ENODEV and ESTALE before validating the argument. */
	dvp = node_get_dvp(reader, changes);
	if (IS_ERR(dvp))
		return PTR_ERR(dvp);
	node_put_dvp(reader);
	return fn(reader, user);
}

/* --- events */

/* What could not be copied is not read: neither is it lost. */
static ssize_t read_events(struct dvp_reader *reader, char __user *buf,
			   size_t count)
{
	struct dmabuf_vfio_event event;
	ssize_t done = 0;

	if (mutex_lock_interruptible(&reader->lock))
		return -ERESTARTSYS;
	while (count - done >= sizeof(event) &&
	       dvp_events_peek(&reader->node->events, reader->next, &event)) {
		if (copy_to_user(buf + done, &event, sizeof(event))) {
			done = done ?: -EFAULT;
			break;
		}
		/* poll(2) reads it without the lock. */
		WRITE_ONCE(reader->next, event.seq);
		done += sizeof(event);
	}
	mutex_unlock(&reader->lock);
	return done;
}

static __poll_t reader_poll(struct dvp_reader *reader)
{
	return dvp_events_poll(&reader->node->events, READ_ONCE(reader->next));
}

static ssize_t node_read(struct file *file, char __user *buf, size_t count,
			 loff_t *ppos)
{
	struct dvp_reader *reader = file->private_data;
	__poll_t mask;
	ssize_t ret;

	if (count < sizeof(struct dmabuf_vfio_event))
		return -EINVAL;
	for (;;) {
		/* Looked at first: what came before the end is read before. */
		mask = reader_poll(reader);
		ret = read_events(reader, buf, count);
		if (ret || mask == EPOLLHUP)
			return ret;
		if (mask)
			continue;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(reader->node->events.wait,
					       reader_poll(reader));
		if (ret)
			return ret;
	}
}

static __poll_t node_poll(struct file *file, poll_table *wait)
{
	struct dvp_reader *reader = file->private_data;

	poll_wait(file, &reader->node->events.wait, wait);
	return reader_poll(reader);
}

/* --- the node itself */

static int node_file_open(struct inode *inode, struct file *file)
{
	struct dvp_node *node = container_of(inode->i_cdev, struct dvp_node,
					     cdev);
	struct dvp_reader *reader;

	reader = kzalloc(sizeof(*reader), GFP_KERNEL_ACCOUNT);
	if (!reader)
		return -ENOMEM;
	reader->node = node;
	down_read(&node->lock);
	reader->tenure = node->dvp ? node->tenure : 0;
	up_read(&node->lock);
	mutex_init(&reader->lock);
	reader->next = dvp_events_next(&node->events);
	file->private_data = reader;
	return stream_open(inode, file);
}

/* The node itself is held by the cdev, for longer than this. */
static int node_file_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations node_fops = {
	.owner		= THIS_MODULE,
	.open		= node_file_open,
	.release	= node_file_release,
	.read		= node_read,
	.poll		= node_poll,
	.unlocked_ioctl	= node_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

static void node_release(struct device *dev)
{
	struct dvp_node *node = container_of(dev, struct dvp_node, dev);

	ida_free(&node_minors, MINOR(dev->devt));
	kfree(node);
}

/* See dvp_gate_prime(), which has the rest. */
static void node_prime(struct dvp_node *node, struct dvp_device *dvp)
{
	if (!IS_ENABLED(CONFIG_LOCKDEP))
		return;

	down_write(&node->lock);
	down_write(&dvp->core.memory_lock);
	up_write(&dvp->core.memory_lock);
	up_write(&node->lock);
}

/**
 * dvp_node_add() - make a function's node
 * @dvp: the function, which nobody can open yet
 *
 * Return: 0, -ENOSPC or -ENOMEM.
 */
int dvp_node_add(struct dvp_device *dvp)
{
	struct dvp_node *node;
	int ret;

	node = kzalloc(sizeof(*node), GFP_KERNEL);
	if (!node)
		return -ENOMEM;
	ret = ida_alloc_max(&node_minors, NODE_MINORS - 1, GFP_KERNEL);
	if (ret < 0) {
		kfree(node);
		return ret;
	}

	init_rwsem(&node->lock);
	dvp_events_init(&node->events);
	node_prime(node, dvp);
	cdev_init(&node->cdev, &node_fops);
	node->cdev.owner = THIS_MODULE;
	device_initialize(&node->dev);
	node->dev.class = &node_class;
	node->dev.devt = MKDEV(MAJOR(node_devt), ret);
	node->dev.parent = &dvp->core.pdev->dev;
	node->dev.release = node_release;
	ret = dev_set_name(&node->dev, "%s", pci_name(dvp->core.pdev)) ?:
	      cdev_device_add(&node->cdev, &node->dev);
	if (ret) {
		put_device(&node->dev);
		return ret;
	}
	dvp->node = node;
	dvp->events = &node->events;
	return 0;
}

/**
 * dvp_node_del() - take a function's node away
 * @dvp: the function, closed for good
 *
 * Its readers get the events that are left, and then end of file.
 */
void dvp_node_del(struct dvp_device *dvp)
{
	struct dvp_node *node = dvp->node;

	cdev_device_del(&node->cdev, &node->dev);
	dvp_events_end(&node->events);
	put_device(&node->dev);
}

int dvp_node_init(void)
{
	int ret;

	ret = alloc_chrdev_region(&node_devt, 0, NODE_MINORS,
				  DVP_NODE_CLASS);
	if (ret)
		return ret;
	ret = class_register(&node_class);
	if (ret)
		unregister_chrdev_region(node_devt, NODE_MINORS);
	return ret;
}

void dvp_node_exit(void)
{
	class_unregister(&node_class);
	unregister_chrdev_region(node_devt, NODE_MINORS);
	ida_destroy(&node_minors);
}
