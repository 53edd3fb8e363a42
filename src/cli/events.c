// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command events: prints one line per event, until the function is unbound
 * or --count events have been printed.
 */
#include <errno.h>
#include <string.h>

#include "cli.h"

/* The same words as JSON has, the reasons at the end of the line. */
static void event_text(const struct val *v, const void *ctx)
{
	const struct val *reasons = val_get(v, "reasons");
	const struct dmabuf_vfio_event *e = ctx;
	unsigned int i;

	printf("%llu %llu.%06llu %s", (unsigned long long)e->seq,
	       (unsigned long long)e->time_ns / 1000000000,
	       (unsigned long long)e->time_ns / 1000 % 1000000,
	       event_name(e->type));
	for (i = 0; i < val_count(reasons); i++)
		printf(" %s", val_text(val_nth(reasons, i)));
	if (e->lost)
		printf(" (%u lost before)", e->lost);
	putchar('\n');
}

static void print_event(const struct options *opts, const struct func *f,
			const struct dmabuf_vfio_event *e)
{
	struct val *v = val_object();

	val_set(v, "function", val_str("%s", f->bdf));
	val_set(v, "seq", val_size(e->seq));
	val_set(v, "time_ns", val_size(e->time_ns));
	val_set(v, "type", val_str("%s", event_name(e->type)));
	val_set(v, "lost", val_num(e->lost));
	val_set(v, "reasons", reasons_val(e->reasons));
	out_print(opts, v, event_text, e);
}

int cmd_events(const struct options *opts, int argc, char **argv)
{
	struct dmabuf_vfio_event event;
	unsigned long seen = 0;
	struct dmabuf_vfio *node;
	struct func f;
	int ret;

	(void)argc;
	ret = node_need(&f, argv[0], false, &node);
	if (ret)
		return ret;
	do {
		ret = dmabuf_vfio_next_event(node, &event, -1);
		if (ret <= 0)
			continue;
		print_event(opts, &f, &event);
		if (ferror(stdout) || ++seen == opts->count)
			break;
	} while (ret >= 0 || ret == -EINTR);
	dmabuf_vfio_close(node);
	/* It is unbound or gone: that is the end of them. */
	if (ret >= 0 || ret == -ENODEV)
		return 0;
	return fail(ret, "%s: reading events: %s", f.bdf, strerror(-ret));
}
