// SPDX-License-Identifier: GPL-2.0-only
/*
 * The commands bind and unbind: for functions that the user names, or for those
 * of /etc/dmabuf-vfio.d at boot.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define CONFIG_DIR	"/etc/dmabuf-vfio.d"

typedef int (*one_t)(const struct func *f, bool force);

static struct val *result(const struct func *f, int code)
{
	struct val *row = val_object();
	char driver[SYS_NAME];

	func_driver(f, driver);
	val_set(row, "function", val_str("%s", f->bdf));
	val_set(row, "driver", *driver ? val_str("%s", driver) : val_null());
	val_set(row, "done", val_bool(!code));
	return row;
}

/* --- configuration: "ADDRESS [VENDOR:DEVICE] [force]" */

static int wrong_line(const char *file, unsigned int line, const char *what)
{
	return fail(EX_WRONG_USAGE, "%s:%u: %s", file, line, what);
}

/*
 * Addresses change when cards are moved; with its ids given another card that
 * now has the address is left alone.
 */
static int config_line(const char *file, unsigned int nr, char *line,
		       one_t one, struct val *rows)
{
	unsigned int vendor = 0, device = 0;
	bool ids = false, force = false;
	char *save, *word;
	struct func f;
	int code;

	line[strcspn(line, "#\n")] = '\0';
	word = strtok_r(line, " \t", &save);
	if (!word)
		return 0;
	if (func_parse(word, f.bdf))
		return wrong_line(file, nr, "a line begins with a PCI address");
	code = func_read(&f, word);
	if (code)
		return wrong_line(file, nr, "there is no such function") ?
			EX_NOT_FOUND : 0;
	while ((word = strtok_r(NULL, " \t", &save))) {
		int end = -1;

		if (!strcmp(word, "force"))
			force = true;
		else if (sscanf(word, "%4x:%4x%n", &vendor, &device,
				&end) == 2 && !word[end])
			ids = true;
		else
			return wrong_line(file, nr, "behind the address come VENDOR:DEVICE and \"force\", and nothing else");
	}
	if (ids && (f.vendor != vendor || f.device != device)) {
		wrong_line(file, nr, "another card has this address now; left alone");
		return EX_REFUSED;
	}
	code = one(&f, force || opts.force);
	val_add(rows, result(&f, code));
	return code;
}

/* Goes on behind a line that fails; the first failure gives the exit code. */
static int config_file(const char *name, one_t one, struct val *rows)
{
	char line[1024], path[PATH_MAX];
	unsigned int nr = 0;
	int code = 0, ret;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s",
		 opts.config_dir ?: CONFIG_DIR, name);
	f = sys_file("%s", path);
	if (!f)
		return fail(code_of(-errno), "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		ret = config_line(path, ++nr, line, one, rows);
		code = code ?: ret;
	}
	fclose(f);
	return code;
}

static int by_config(one_t one, struct val *rows)
{
	const char *dir = opts.config_dir ?: CONFIG_DIR;
	struct names names;
	unsigned int i;
	int code = 0, ret;

	ret = sys_names(&names, "%s", dir);
	if (ret)
		return fail(code_of(ret), "%s: %s", dir, strerror(-ret));
	for (i = 0; i < names.nr; i++) {
		const char *dot = strrchr(names.name[i], '.');

		if (!dot || strcmp(dot, ".conf"))
			continue;
		ret = config_file(names.name[i], one, rows);
		code = code ?: ret;
	}
	names_free(&names);
	return code;
}

static int by_name(int argc, char **argv, one_t one, struct val *rows)
{
	struct func *funcs = calloc(argc, sizeof(*funcs));
	int i, code = 0, ret;

	if (!funcs)
		return fail(EX_FAILED, "out of memory");
	/* A mistake in the last one should not find the first one bound. */
	for (i = 0; i < argc && !code; i++)
		code = func_need(&funcs[i], argv[i]);
	if (code) {
		free(funcs);
		return code;
	}
	for (i = 0; i < argc; i++) {
		ret = one(&funcs[i], opts.force);
		val_add(rows, result(&funcs[i], ret));
		code = code ?: ret;
	}
	free(funcs);
	return code;
}

static int for_each(int argc, char **argv, one_t one)
{
	struct val *rows = val_array();
	int code;

	if (opts.config != !argc) {
		val_free(rows);
		return fail(EX_WRONG_USAGE,
			    "either functions or --config: see --help");
	}
	code = opts.config ? by_config(one, rows) :
			     by_name(argc, argv, one, rows);
	if (val_count(rows))
		out_print(rows, NULL);
	else
		val_free(rows);
	return code;
}

int cmd_bind(int argc, char **argv)
{
	return for_each(argc, argv, bind_one);
}

int cmd_unbind(int argc, char **argv)
{
	return for_each(argc, argv, unbind_one);
}
