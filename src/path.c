// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the PCI tree: a function's way to its root complex, for route.c. What a
 * provider's clients have been told is kept, since to read the tree is slow.
 */
#include <linux/bitfield.h>
#include <linux/bits.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "dvp.h"

/* Of an entry in &dvp_provider.routes: a route, and when it was found. */
#define ROUTE_KIND	GENMASK(3, 0)
#define ROUTE_WHY	GENMASK(7, 4)
#define ROUTE_READS	GENMASK(11, 8)
#define ROUTE_WRITES	GENMASK(15, 12)
#define ROUTE_DISTANCE	GENMASK(23, 16)
#define ROUTE_BITS	24

/* A host bridge, by the function that stands for it */
struct host_id {
	u16 vendor;
	u16 device;
};

static int host_id_set(const char *val, const struct kernel_param *kp)
{
	struct host_id *id = kp->arg;
	char end;

	/* A root bus without a function that stands for it has vendor 0. */
	if (sscanf(val, "%4hx:%4hx%c", &id->vendor, &id->device, &end) != 2 ||
	    !id->vendor)
		return -EINVAL;
	return 0;
}

static int host_id_get(char *buf, const struct kernel_param *kp)
{
	const struct host_id *id = kp->arg;

	/* Not sysfs_emit(): of an array the second begins inside the page. */
	return scnprintf(buf, sizeof("ffff:ffff\n"), "%04x:%04x\n", id->vendor,
			 id->device);
}

static const struct kernel_param_ops param_ops_host_id = {
	.set = host_id_set,
	.get = host_id_get,
};

#define param_check_host_id(name, p)	__param_check(name, p, struct host_id)

static struct host_id hosts[16];
static unsigned int nr_hosts;
module_param_array(hosts, host_id, &nr_hosts, 0444);
MODULE_PARM_DESC(hosts, "Host bridges that forward peer traffic, besides those that the kernel knows: vendor:device, hexadecimal, up to 16 of them separated by commas");

/* How often a PCI function has come or gone */
static atomic_long_t tree_changes = ATOMIC_LONG_INIT(0);

#define ACS_REDIRECTS	(PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC)

static bool redirects_peers(struct pci_dev *pdev)
{
	u16 ctrl;

	if (!pdev->acs_cap)
		return false;
	pci_read_config_word(pdev, pdev->acs_cap + PCI_ACS_CTRL, &ctrl);
	return ctrl & ACS_REDIRECTS;
}

static int take_first(struct pci_dev *pdev, void *first)
{
	*(struct pci_dev **)first = pdev;
	return 1;
}

static bool host_is_named(u16 vendor, u16 device)
{
	unsigned int i;

	for (i = 0; i < nr_hosts; i++)
		if (hosts[i].vendor == vendor && hosts[i].device == device)
			return true;
	return false;
}

/*
 * The host bridge is known by the first function of its root bus, if that is
 * 00.0 or a root port.
 */
static void read_host_bridge(struct pci_dev *pdev, struct dvp_path *path)
{
	struct pci_bus *bus = pci_find_host_bridge(pdev->bus)->bus;
	struct pci_dev *first = NULL;

	path->root = (u64)pci_domain_nr(bus) << 8 | bus->number;
	path->root_vendor = 0;
	path->root_device = 0;
	pci_walk_bus(bus, take_first, &first);
	if (first && (first->devfn == PCI_DEVFN(0, 0) ||
		      pci_pcie_type(first) == PCI_EXP_TYPE_ROOT_PORT)) {
		path->root_vendor = first->vendor;
		path->root_device = first->device;
	}
	path->root_named = host_is_named(path->root_vendor, path->root_device);
}

/*
 * By the bus, not by a VF's PF as pci_upstream_bridge() does: the PF may be
 * gone, while a function keeps its bus in memory, and a bus its bridge. A bus
 * that VFs overflow to has no bridge; its parent is the PF's bus.
 */
static struct pci_dev *path_upstream(struct pci_dev *pdev)
{
	struct pci_bus *bus = pdev->bus;

	while (!bus->self && bus->parent)
		bus = bus->parent;
	return bus->self;
}

/* A bus without a bridge does not keep its parent in memory. */
static bool path_is_gone(struct pci_dev *pdev)
{
	struct pci_bus *bus = pdev->bus;

	return !bus->self && bus->parent && !device_is_registered(&bus->dev);
}

/* A path that is too deep has no hops, which every route treats as "none". */
static void path_read(struct pci_dev *pdev, struct dvp_path *path)
{
	struct pci_dev *hop;

	path->nr_hops = 0;
	if (path_is_gone(pdev))
		return;
	for (hop = pdev; hop; hop = path_upstream(hop)) {
		if (path->nr_hops == DVP_PATH_MAX) {
			path->nr_hops = 0;
			return;
		}
		path->hop[path->nr_hops].id = dvp_id(hop);
		path->hop[path->nr_hops].redirects = redirects_peers(hop);
		path->nr_hops++;
	}
	read_host_bridge(pdev, path);
}

/* --- providers */

/**
 * dvp_provider_create() - find out where a function is
 * @pdev: the function, whose memory others will want to reach
 *
 * Context: may sleep; takes the PCI core's bus lock, so call it without any
 * lock that an error handler needs.
 *
 * Return: the provider, for dvp_provider_put(); NULL without memory.
 */
struct dvp_provider *dvp_provider_create(struct pci_dev *pdev)
{
	struct dvp_provider *provider = kzalloc(sizeof(*provider), GFP_KERNEL);

	if (!provider)
		return NULL;
	kref_init(&provider->ref);
	xa_init(&provider->routes);
	path_read(pdev, &provider->path);
	if (!provider->path.nr_hops)
		pci_warn(pdev,
			 "PCI tree is too deep: exported BARs have no route\n");
	return provider;
}

static void provider_free(struct kref *ref)
{
	struct dvp_provider *provider = container_of(ref, struct dvp_provider,
						     ref);

	xa_destroy(&provider->routes);
	kfree(provider);
}

/**
 * dvp_provider_put() - drop a reference to a provider
 * @provider: the provider, or NULL
 */
void dvp_provider_put(struct dvp_provider *provider)
{
	if (provider)
		kref_put(&provider->ref, provider_free);
}

/* An entry with another stamp is older than the last change of the tree. */
static unsigned long route_stamp(void)
{
	return ((unsigned long)atomic_long_read(&tree_changes) << ROUTE_BITS) &
	       LONG_MAX;
}

static unsigned long route_pack(const struct dvp_route *r)
{
	return FIELD_PREP(ROUTE_KIND, r->kind) | FIELD_PREP(ROUTE_WHY, r->why) |
	       FIELD_PREP(ROUTE_READS, r->reads) |
	       FIELD_PREP(ROUTE_WRITES, r->writes) |
	       FIELD_PREP(ROUTE_DISTANCE, r->distance + 1);
}

static struct dvp_route route_unpack(unsigned long packed)
{
	return (struct dvp_route){
		.kind = FIELD_GET(ROUTE_KIND, packed),
		.why = FIELD_GET(ROUTE_WHY, packed),
		.reads = FIELD_GET(ROUTE_READS, packed),
		.writes = FIELD_GET(ROUTE_WRITES, packed),
		.distance = (int)FIELD_GET(ROUTE_DISTANCE, packed) - 1,
	};
}

static struct dvp_route route_read(struct dvp_provider *provider,
				   struct pci_dev *pdev)
{
	struct dvp_path client;

	path_read(pdev, &client);
	return dvp_route_find(&provider->path, &client, dvp_cpu_routes_p2p());
}

/**
 * dvp_provider_route() - how does a client reach a provider?
 * @provider: the provider
 * @client: the client, which the caller keeps from being removed, or may have
 *	been removed already: a PCI function keeps the buses above it in memory
 *
 * The tree is read for the first question about a client, and again when a PCI
 * function has come or gone since. ACS settings that somebody changes by hand
 * are seen by the next tenure.
 *
 * Context: may sleep; takes the PCI core's bus lock, so call it without any
 * lock that an error handler needs.
 *
 * Return: the route.
 */
struct dvp_route dvp_provider_route(struct dvp_provider *provider,
				    struct pci_dev *client)
{
	unsigned long id = dvp_id(client), stamp = route_stamp(), packed;
	struct dvp_route route;
	void *entry;

	BUILD_BUG_ON(2 * DVP_PATH_MAX >= FIELD_MAX(ROUTE_DISTANCE));

	entry = xa_load(&provider->routes, id);
	packed = entry ? xa_to_value(entry) : 0;
	if (entry && (packed & ~(BIT(ROUTE_BITS) - 1)) == stamp)
		return route_unpack(packed);
	route = route_read(provider, client);
	/* Where memory is short the next one reads the tree, too. */
	xa_store(&provider->routes, id, xa_mk_value(stamp | route_pack(&route)),
		 GFP_KERNEL);
	return route;
}

static int tree_notify(struct notifier_block *nb, unsigned long event,
		       void *data)
{
	if (event == BUS_NOTIFY_ADD_DEVICE ||
	    event == BUS_NOTIFY_REMOVED_DEVICE)
		atomic_long_inc(&tree_changes);
	return NOTIFY_DONE;
}

static struct notifier_block tree_nb = {
	.notifier_call = tree_notify,
};

int dvp_paths_init(void)
{
	return bus_register_notifier(&pci_bus_type, &tree_nb);
}

void dvp_paths_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &tree_nb);
}
