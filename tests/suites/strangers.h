/* SPDX-License-Identifier: GPL-2.0-only */
/* A driver of the kernel that imports dma-bufs, and what it makes of ours. */
#ifndef DVP_STRANGERS_H
#define DVP_STRANGERS_H

#include "harness.h"

struct stranger {
	const char *module;		/* and its parameters */
	const char *name;		/* of the driver, or of an instance */
	u16 vendor, device;		/* of its PCI function, if it has one */
	u32 type;			/* of its queue, if it has one */

	int (*open)(const struct stranger *s);	/* a node */
	int (*import)(const struct stranger *s, int node, int buf);
	void (*close)(int node);
	int err;			/* what import() answers */
	bool attaches;			/* and was told EOPNOTSUPP there */
	bool keeps;			/* a buffer that it does not get */
};

void strangers_load(const char *module);
int strangers_ioctl(int fd, unsigned long cmd, void *arg); /* or -errno */

/*
 * A buffer that @s does not get, whatever state it is in and whoever else has
 * it: nothing of the attempt is left, and who may have it still gets it.
 */
void strangers_refused(const struct stranger *s);

#endif /* DVP_STRANGERS_H */
