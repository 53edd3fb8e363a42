// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command events: what happens to a function, a line each, until it is
 * unbound or the reader has had enough.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static const char * const type_names[] = {
	[DMABUF_VFIO_EVENT_REVOKED]	= "revoked",
	[DMABUF_VFIO_EVENT_RESTORED]	= "restored",
	[DMABUF_VFIO_EVENT_CLOSED]	= "closed",
	[DMABUF_VFIO_EVENT_OPENED]	= "opened",
};

static void event_text(const struct val *v)
{
	unsigned int i;

	for (i = 0; i < val_count(v); i++)
		printf("%s%s", val_text(val_nth(v, i)),
		       i + 1 < val_count(v) ? " " : "\n");
}

static const char *type_name(u32 type)
{
	return type < ARRAY_SIZE(type_names) && type_names[type] ?
		type_names[type] : "unknown";
}

/* JSON has a line an event; text has the same words, reasons last. */
static void print_event(const struct func *f,
			const struct dmabuf_vfio_event *e)
{
	struct val *v = opts.json ? val_object() : val_array();
	struct val *reasons = reasons_val(e->reasons);
	unsigned int i;

	if (opts.json) {
		val_set(v, "function", val_str("%s", f->bdf));
		val_set(v, "seq", val_size(e->seq));
		val_set(v, "time_ns", val_size(e->time_ns));
		val_set(v, "type", val_str("%s", type_name(e->type)));
		val_set(v, "lost", val_num(e->lost));
		val_set(v, "reasons", reasons);
		out_print(v, NULL);
		return;
	}
	val_add(v, val_str("%llu", (unsigned long long)e->seq));
	val_add(v, val_str("%llu.%06llu",
			   (unsigned long long)e->time_ns / 1000000000,
			   (unsigned long long)e->time_ns / 1000 % 1000000));
	val_add(v, val_str("%s", type_name(e->type)));
	for (i = 0; i < val_count(reasons); i++)
		val_add(v, val_str("%s", val_text(val_nth(reasons, i))));
	if (e->lost)
		val_add(v, val_str("(%u lost before)", e->lost));
	val_free(reasons);
	out_print(v, event_text);
}

int cmd_events(int argc, char **argv)
{
	struct dmabuf_vfio_event events[64];
	unsigned long seen = 0;
	struct func f;
	int node, code = 0;
	ssize_t n;

	(void)argc;
	node = node_need(&f, argv[0], O_RDONLY);
	if (node < 0)
		return -node;
	for (;;) {
		size_t i;

		n = read(node, events, sizeof(events));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (i = 0; i < n / sizeof(*events); i++) {
			print_event(&f, &events[i]);
			if (ferror(stdout) || ++seen == opts.count)
				goto out;
		}
	}
	if (n < 0)
		code = fail(code_of(-errno), "%s: reading events: %s", f.bdf,
			    strerror(errno));
out:
	close(node);
	return code;
}
