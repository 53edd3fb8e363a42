// SPDX-License-Identifier: GPL-2.0-only
/*
 * Notes of what functions had before they were bound: one file for each, in
 * /run/dmabuf-vfio, named by the function's address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

int note_dir_make(void)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s" RUN_DIR, sys_root());
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

void note_take(const struct func *f, struct note *note)
{
	memset(note, 0, sizeof(*note));
	func_driver(f, note->driver);
	func_override(f, note->override);
	if (*note->driver)
		sys_link(note->module, "%s/driver/module", f->dir);
}

/* Written aside and renamed: a note is complete or absent. */
int note_save(const struct func *f, const struct note *note)
{
	char path[PATH_MAX], new[PATH_MAX + 8];
	FILE *file;
	int ret = 0;

	snprintf(path, sizeof(path), "%s" RUN_DIR "/%s", sys_root(), f->bdf);
	snprintf(new, sizeof(new), "%s.new", path);
	file = fopen(new, "we");
	if (!file)
		return -errno;
	fprintf(file, "driver %s\nmodule %s\noverride %s\n", note->driver,
		note->module, note->override);
	if (fclose(file) || rename(new, path)) {
		ret = -errno;
		unlink(new);
	}
	return ret;
}

int note_load(const struct func *f, struct note *note)
{
	char buf[1024], *save, *line;
	int ret;

	memset(note, 0, sizeof(*note));
	ret = sys_read(buf, sizeof(buf), RUN_DIR "/%s", f->bdf);
	if (ret < 0)
		return ret;
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (sscanf(line, "driver %255s", note->driver) != 1 &&
		    sscanf(line, "module %255s", note->module) != 1)
			sscanf(line, "override %255s", note->override);
	}
	return 0;
}

void note_delete(const struct func *f)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s" RUN_DIR "/%s", sys_root(), f->bdf);
	unlink(path);
}
