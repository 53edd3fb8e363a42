// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the PCI tree: a function's way to its root complex, for route.c.
 */
#include "dvp.h"

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

/*
 * The host bridge is known by the first function of its root bus, if that is
 * 00.0 or a root port.
 */
static void read_host_bridge(struct pci_dev *pdev, struct dvp_path *path)
{
	struct pci_bus *bus = pci_find_host_bridge(pdev->bus)->bus;
	struct pci_dev *first = NULL;

	path->root = (u64)pci_domain_nr(bus) << 8 | bus->number;
	pci_walk_bus(bus, take_first, &first);
	if (first && (first->devfn == PCI_DEVFN(0, 0) ||
		      pci_pcie_type(first) == PCI_EXP_TYPE_ROOT_PORT)) {
		path->root_vendor = first->vendor;
		path->root_device = first->device;
	}
}

/**
 * dvp_path_read() - find a function's way to its root complex
 * @pdev: the function; the caller keeps it from being removed
 * @path: out; without hops on error, which every route treats as "none"
 *
 * Context: may sleep; takes the PCI core's bus lock, so call it without any
 * lock that an error handler needs.
 *
 * Return: 0, or -E2BIG when the tree is deeper than DVP_PATH_MAX.
 */
int dvp_path_read(struct pci_dev *pdev, struct dvp_path *path)
{
	struct pci_dev *hop;

	memset(path, 0, sizeof(*path));
	for (hop = pdev; hop; hop = pci_upstream_bridge(hop)) {
		if (path->nr_hops == DVP_PATH_MAX) {
			path->nr_hops = 0;
			return -E2BIG;
		}
		path->hop[path->nr_hops].id = dvp_id(hop);
		path->hop[path->nr_hops].redirects = redirects_peers(hop);
		path->nr_hops++;
	}
	read_host_bridge(pdev, path);
	return 0;
}
