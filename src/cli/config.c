// SPDX-License-Identifier: GPL-2.0-only
/*
 * The functions that the *.conf files of /etc/dmabuf-vfio.d name, one on each
 * line: "ADDRESS [VENDOR:DEVICE] [force]".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define CONFIG_DIR	"/etc/dmabuf-vfio.d"

/* What to do with each function. */
struct action {
	int (*one)(const struct func *f, bool force, void *ctx);
	void *ctx;
};

struct place {
	const char *file;
	unsigned int line;
};

static int wrong_line(const struct place *at, int err, const char *what)
{
	return fail(err, "%s:%u: %s", at->file, at->line, what);
}

/*
 * An address changes when cards are moved. If the line has the card's ids,
 * another card that now has the address is left alone.
 */
static int config_line(const struct place *at, char *line,
		       const struct action *action)
{
	unsigned int vendor = 0, device = 0;
	bool ids = false, force = false;
	char *save, *word;
	struct func f;

	line[strcspn(line, "#\n")] = '\0';
	word = strtok_r(line, " \t", &save);
	if (!word)
		return 0;
	if (func_parse(word, f.bdf))
		return wrong_line(at, -EMISUSE,
				  "a line begins with a PCI address");
	if (func_read(&f, word))
		return wrong_line(at, -ENOENT, "there is no such function");
	while ((word = strtok_r(NULL, " \t", &save))) {
		int end = -1;

		if (!strcmp(word, "force"))
			force = true;
		else if (sscanf(word, "%4x:%4x%n", &vendor, &device,
				&end) == 2 && !word[end])
			ids = true;
		else
			return wrong_line(at, -EMISUSE, "only VENDOR:DEVICE and \"force\" may follow the address");
	}
	if (ids && (f.vendor != vendor || f.device != device))
		return wrong_line(at, -EREFUSED, "another card has this address now; left alone: correct the line");
	return action->one(&f, force, action->ctx);
}

/* Continues after a line that fails; returns the first error. */
static int config_file(const char *dir, const char *name,
		       const struct action *action)
{
	char path[PATH_MAX], *line = NULL;
	struct place at = { .file = path };
	int first = 0, ret;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = sys_file("%s", path);
	if (!f) {
		ret = -errno;
		return fail(ret, "%s: %s", path, strerror(-ret));
	}
	while (getline(&line, &size, f) >= 0) {
		at.line++;
		ret = config_line(&at, line, action);
		first = first ?: ret;
	}
	free(line);
	fclose(f);
	return first;
}

/**
 * config_each() - call a function for each function of the configuration
 * @dir: where its files are, NULL: /etc/dmabuf-vfio.d
 * @one: has said what is wrong when it fails; @force: the line says "force"
 * @ctx: for @one
 *
 * Says what is wrong, goes on with the next line, and returns the first error.
 */
int config_each(const char *dir,
		int (*one)(const struct func *f, bool force, void *ctx),
		void *ctx)
{
	const struct action action = { .one = one, .ctx = ctx };
	struct names names;
	unsigned int i;
	int first = 0, ret;

	dir = dir ?: CONFIG_DIR;
	ret = sys_names(&names, "%s", dir);
	if (ret)
		return fail(ret, "%s: %s", dir, strerror(-ret));
	for (i = 0; i < names.nr; i++) {
		const char *dot = strrchr(names.name[i], '.');

		if (!dot || strcmp(dot, ".conf"))
			continue;
		ret = config_file(dir, names.name[i], &action);
		first = first ?: ret;
	}
	names_free(&names);
	return first;
}
