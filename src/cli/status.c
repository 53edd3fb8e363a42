// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command status: functions, whether their memory can be reached, their
 * buffers and importers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Reads "key=value" of debugfs; a value that is a number becomes one. */
static void set_word(struct val *object, char *word)
{
	char *value = strchr(word, '='), *end;
	unsigned long long num;

	if (!value)
		return;
	*value++ = '\0';
	num = strtoull(value, &end, 0);
	val_set(object, word, *value && !*end ? val_num(num) :
						val_str("%s", value));
}

static void set_words(struct val *object, char *line)
{
	char *save, *word;

	for (word = strtok_r(line, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save))
		set_word(object, word);
}

struct buffer {
	struct val *ranges;
	struct val *importers;
	struct val *mappings;
	struct val *jobs;
};

/* Makes a list of "dma=ADDRESS:LENGTH,..."; a "..." in it: there are more. */
static void set_segments(struct val *mapping, char *line)
{
	struct val *list = val_array();
	char *save, *word;

	word = strstr(line, " dma=");
	if (word) {
		*word = '\0';
		for (word = strtok_r(word + 5, ",\n", &save); word;
		     word = strtok_r(NULL, ",\n", &save))
			val_add(list, val_str("%s", word));
	}
	set_words(mapping, line);
	val_set(mapping, "dma", list);
}

static void buffer_line(struct val *buffers, struct buffer *b, char *line)
{
	bool refused = strstr(line, " refused=");
	char name[64];
	struct val *v;

	/* A "bar" is a BAR that the owner has mapped by the VFIO fd itself. */
	if (!strncmp(line, "buffer ", 7) || !strncmp(line, "bar ", 4)) {
		v = val_add(buffers, val_object());
		val_set(v, "kind", val_str("%s", line[1] == 'u' ?
						 "buffer" : "bar"));
		set_words(v, line);
		b->ranges = val_set(v, "slices", val_array());
		b->importers = val_set(v, "importers", val_array());
		b->mappings = val_set(v, "mappings", val_array());
		b->jobs = val_set(v, "jobs", val_array());
		return;
	}
	/* "range ...": not all are shown; the buffer's line counts them. */
	if (!b->ranges || strstr(line, " ...\n"))
		return;
	if (sscanf(line, " attachment %63s", name) == 1) {
		v = val_add(b->importers, val_object());
		val_set(v, "device", val_str("%s", name));
		set_words(v, line);
		/* Each row of a table has the same columns. */
		if (!refused)
			val_set(v, "refused", val_null());
		return;
	}
	if (sscanf(line, " mapping %63s", name) == 1) {
		v = val_add(b->mappings, val_object());
		val_set(v, "device", val_str("%s", name));
		set_segments(v, line);
		return;
	}
	if (!strncmp(line, "  range ", 8))
		set_words(val_add(b->ranges, val_object()), line);
	else if (!strncmp(line, "  job ", 6))
		set_words(val_add(b->jobs, val_object()), line);
}

/* NULL where debugfs cannot be read. */
static struct val *read_buffers(const struct func *f)
{
	struct buffer b = {};
	struct val *buffers;
	char line[1024];
	FILE *file;

	file = sys_file("/sys/kernel/debug/%s/%s/buffers", func_debugfs(f),
			f->bdf);
	if (!file)
		return NULL;
	buffers = val_array();
	while (fgets(line, sizeof(line), file))
		buffer_line(buffers, &b, line);
	fclose(file);
	return buffers;
}

static struct val *read_bars(const struct func *f, const struct state *state)
{
	struct val *list = val_array(), *row;
	struct bar bars[6];
	int i;

	func_bars(f, bars);
	for (i = 0; i < 6; i++) {
		u32 flags = state->bars[i].flags;

		if (!bars[i].size)
			continue;
		row = val_add(list, val_object());
		val_set(row, "bar", val_num(i));
		val_set(row, "size", val_size(bars[i].size));
		val_set(row, "memory", val_bool(bars[i].memory));
		val_set(row, "exportable", state->by_node ?
			val_bool(flags & DMABUF_VFIO_BAR_EXPORTABLE) :
			val_null());
	}
	return list;
}

static struct val *caps_val(u32 caps)
{
	struct val *list = val_array();
	unsigned int i;

	for (i = 0; cap_name(i); i++)
		if (caps & 1U << i)
			val_add(list, val_str("%s", cap_name(i)));
	return list;
}

static void set_name(struct val *v, const char *key, const char *name)
{
	val_set(v, key, *name ? val_str("%s", name) : val_null());
}

static struct val *basics(const struct func *f)
{
	char driver[SYS_NAME], group[SYS_NAME];
	struct val *v = val_object();

	func_driver(f, driver);
	func_group(f, group);
	val_set(v, "function", val_str("%s", f->bdf));
	val_set(v, "id", val_str("%04x:%04x", f->vendor, f->device));
	val_set(v, "class", val_str("%06x", f->class));
	set_name(v, "driver", driver);
	set_name(v, "group", group);
	return v;
}

static void set_state(struct val *v, const struct state *state)
{
	bool closed = state->reasons & DMABUF_VFIO_REASON_CLOSED;

	val_set(v, "open", state->known ? val_bool(!closed) : val_null());
	val_set(v, "reachable", state->known ? val_bool(!state->reasons) :
					       val_null());
	val_set(v, "reasons", reasons_val(state->reasons));
}

static struct val *details(const struct func *f)
{
	struct val *v = basics(f), *buffers;
	struct state state;

	state_read(f, &state);
	set_state(v, &state);
	val_set(v, "node", sys_exists("/dev/dmabuf-vfio/%s", f->bdf) ?
		val_str("/dev/dmabuf-vfio/%s", f->bdf) : val_null());
	if (state.by_node) {
		val_set(v, "abi_version", val_num(state.abi_version));
		val_set(v, "capabilities", caps_val(state.capabilities));
	}
	val_set(v, "nr_buffers", state.known ? val_num(state.nr_buffers) :
					       val_null());
	val_set(v, "bars", read_bars(f, &state));
	buffers = read_buffers(f);
	val_set(v, "buffers", buffers ?: val_null());
	return v;
}

static struct val *one_line(const struct func *f)
{
	struct val *v = basics(f);
	struct state state;

	state_read(f, &state);
	set_state(v, &state);
	return v;
}

static void status_text(const struct val *v, const void *unused)
{
	(void)unused;
	if (val_count(v))
		out_text(v);
	else
		printf("no function is bound to " DRIVER ": bind one with "
		       COMMAND " bind ADDRESS; status --all lists all functions\n");
}

int cmd_status(const struct options *opts, int argc, char **argv)
{
	struct val *rows = val_array();
	struct func *funcs, f;
	int i, nr, ret = 0;

	for (i = 0; i < argc && !ret; i++) {
		ret = func_need(&f, argv[i]);
		if (!ret)
			val_add(rows, details(&f));
	}
	if (ret) {
		val_free(rows);
		return ret;
	}
	if (!argc) {
		nr = funcs_read(&funcs);
		if (nr < 0) {
			val_free(rows);
			return nr;
		}
		for (i = 0; i < nr; i++) {
			if (opts->all)
				val_add(rows, one_line(&funcs[i]));
			else if (func_is_ours(&funcs[i]))
				val_add(rows, details(&funcs[i]));
		}
		free(funcs);
	}
	out_print(opts, rows, status_text, NULL);
	return 0;
}
