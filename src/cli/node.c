// SPDX-License-Identifier: GPL-2.0-only
/*
 * The function's node, and the function's state: from the node, or from debugfs
 * where there is no node.
 */
#include <errno.h>
#include <string.h>

#include "cli.h"

/* To be given to dmabuf_vfio_close(). Not writable: queries and events only. */
int node_open(const struct func *f, bool writable, struct dmabuf_vfio **node)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/dev/dmabuf-vfio/%s", sys_root(),
		 f->bdf);
	return dmabuf_vfio_open(path, writable, node);
}

/* Finds @f and opens its node. Says what is wrong. */
int node_need(struct func *f, const char *address, bool writable,
	      struct dmabuf_vfio **node)
{
	char driver[SYS_NAME];
	int ret = func_need(f, address);

	if (ret)
		return ret;
	ret = node_open(f, writable, node);
	if (!ret)
		return 0;
	func_driver(f, driver);
	if (ret == -EACCES || ret == -EPERM)
		return fail(ret, "no permission to open /dev/dmabuf-vfio/%s: "
			    "run it as root, or give the node to your group "
			    "by a udev rule (see " COMMAND "(4))",
			    f->bdf);
	if (ret == -ENOENT && !func_is_ours(f))
		return fail(ret, "%s is not bound to " DRIVER
			    " (its driver: %s): " COMMAND " bind %s",
			    f->bdf, *driver ? driver : "none", f->bdf);
	return fail(ret, "/dev/dmabuf-vfio/%s: %s", f->bdf, strerror(-ret));
}

static bool by_node(const struct func *f, struct state *state)
{
	struct dmabuf_vfio_info info;
	struct dmabuf_vfio *node;
	int ret;

	if (node_open(f, false, &node))
		return false;
	ret = dmabuf_vfio_query(node, &info);
	dmabuf_vfio_close(node);
	if (ret == -ENODEV) {
		state->reasons = DMABUF_VFIO_REASON_CLOSED;
		return true;
	}
	if (ret)
		return false;
	state->by_node = true;
	state->reasons = info.reasons;
	state->nr_buffers = info.nr_buffers;
	state->abi_version = info.abi_version;
	state->capabilities = info.capabilities;
	memcpy(state->bars, info.bars, sizeof(state->bars));
	return true;
}

/*
 * The node may be missing where debugfs is not: the /dev of a container has no
 * node of a function that was bound after the container started.
 */
static bool by_debugfs(const struct func *f, struct state *state)
{
	char buf[1024], *save, *line, *word, *rest;
	unsigned int i;

	if (sys_read(buf, sizeof(buf), "/sys/kernel/debug/%s/%s/state",
		     func_debugfs(f), f->bdf) <= 0)
		return false;
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "buffers: %u", &state->nr_buffers) == 1 ||
		    strncmp(line, "reasons:", 8))
			continue;
		for (word = strtok_r(line + 8, " ", &rest); word;
		     word = strtok_r(NULL, " ", &rest))
			for (i = 0; reason_name(i); i++)
				if (!strcmp(word, reason_name(i)))
					state->reasons |= 1U << i;
	}
	return true;
}

void state_read(const struct func *f, struct state *state)
{
	memset(state, 0, sizeof(*state));
	state->known = by_node(f, state) || by_debugfs(f, state);
}

struct val *reasons_val(u32 reasons)
{
	struct val *list = val_array();
	unsigned int i;

	for (i = 0; reason_name(i); i++)
		if (reasons & 1U << i)
			val_add(list, val_str("%s", reason_name(i)));
	return list;
}
