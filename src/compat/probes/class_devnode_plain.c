// SPDX-License-Identifier: GPL-2.0-only
/* Up to Linux 6.1. one-of: class_devnode_const */
#include <linux/device.h>

static char *devnode(struct device *dev, umode_t *mode)
{
	return NULL;
}

int probe(void);
int probe(void)
{
	static struct class class = {
		.name		= "probe",
		.devnode	= devnode,
	};

	return class_register(&class);
}
