// SPDX-License-Identifier: GPL-2.0-only
/*
 * DRM's ioctls. Debian's linux-libc-dev leaves out the kernel's headers of
 * them, so what is used of the ABI stands here.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "drm.h"

#define DRM_WR(nr, type)	_IOWR('d', nr, type)
#define XRGB8888		0x34325258u	/* "XR24" */
#define FLIP_EVENT		1u
#define CONNECTED		1u
#define MODES			128
#define PROBE_MS		20000

struct gem_close {
	u32 handle;
	u32 pad;
};

struct prime_handle {
	u32 handle;
	u32 flags;
	__s32 fd;
};

struct mode_resources {
	u64 fbs, crtcs, connectors, encoders;
	u32 count_fbs, count_crtcs, count_connectors, count_encoders;
	u32 min_width, max_width, min_height, max_height;
};

struct mode_connector {
	u64 encoders, modes, props, prop_values;
	u32 count_modes, count_props, count_encoders;
	u32 encoder, connector, type, type_id;
	u32 connection, mm_width, mm_height, subpixel, pad;
};

struct mode_crtc {
	u64 connectors;
	u32 count_connectors;
	u32 crtc;
	u32 fb;
	u32 x, y;
	u32 gamma_size;
	u32 mode_valid;
	struct drm_mode mode;
};

struct mode_fb2 {
	u32 fb;
	u32 width, height;
	u32 format;
	u32 flags;
	u32 handles[4], pitches[4], offsets[4];
	u64 modifier[4];
};

struct mode_flip {
	u32 crtc;
	u32 fb;
	u32 flags;
	u32 reserved;
	u64 user_data;
};

struct mode_dirty {
	u32 fb;
	u32 flags;
	u32 color;
	u32 count_clips;
	u64 clips;
};

struct mode_dumb {
	u32 height, width, bpp, flags;
	u32 handle, pitch;
	u64 size;
};

struct mode_map_dumb {
	u32 handle;
	u32 pad;
	u64 offset;
};

#define GEM_CLOSE	_IOW('d', 0x09, struct gem_close)
#define PRIME_IMPORT	DRM_WR(0x2e, struct prime_handle)
#define GET_RESOURCES	DRM_WR(0xa0, struct mode_resources)
#define SET_CRTC	DRM_WR(0xa2, struct mode_crtc)
#define GET_CONNECTOR	DRM_WR(0xa7, struct mode_connector)
#define RM_FB		DRM_WR(0xaf, u32)
#define PAGE_FLIP	DRM_WR(0xb0, struct mode_flip)
#define DIRTY_FB	DRM_WR(0xb1, struct mode_dirty)
#define CREATE_DUMB	DRM_WR(0xb2, struct mode_dumb)
#define MAP_DUMB	DRM_WR(0xb3, struct mode_map_dumb)
#define ADD_FB2		DRM_WR(0xb8, struct mode_fb2)

/* As a process does it: again if a signal came in between. */
static int call(const struct drm *drm, unsigned long cmd, void *arg)
{
	int ret;

	do {
		ret = ioctl(drm->fd, cmd, arg);
	} while (ret < 0 && (errno == EINTR || errno == EAGAIN));
	return ret < 0 ? -errno : 0;
}

static bool find_card(const char *bdf, char *path, size_t size)
{
	char dir[128];
	struct dirent *e;
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "/sys/bus/pci/devices/%s/drm", bdf);
	d = opendir(dir);
	while (d && !found && (e = readdir(d))) {
		if (strncmp(e->d_name, "card", 4))
			continue;
		snprintf(path, size, "/dev/dri/%.32s", e->d_name);
		found = !access(path, R_OK | W_OK);
	}
	if (d)
		closedir(d);
	return found;
}

static void ask_connector(const struct drm *drm, struct mode_connector *c,
			  struct drm_mode *modes)
{
	/* Without a place for modes the driver asks the card for them. */
	*c = (struct mode_connector){ .connector = drm->connector };
	expect_eq(call(drm, GET_CONNECTOR, c), 0);
	if (!modes)
		return;
	*c = (struct mode_connector){
		.connector = drm->connector,
		.modes = (uintptr_t)modes,
		.count_modes = c->count_modes < MODES ? c->count_modes : MODES,
	};
	expect_eq(call(drm, GET_CONNECTOR, c), 0);
}

static void find_mode(struct drm *drm, u32 width, u32 height)
{
	struct mode_resources res = {
		.crtcs = (uintptr_t)&drm->crtc,
		.count_crtcs = 1,
		.connectors = (uintptr_t)&drm->connector,
		.count_connectors = 1,
	};
	static struct drm_mode modes[MODES];
	struct mode_connector c;

	expect_eq(call(drm, GET_RESOURCES, &res), 0);
	expect_eq(res.count_crtcs, 1);
	expect_eq(res.count_connectors, 1);
	ask_connector(drm, &c, modes);
	expect_eq(c.connection, CONNECTED);
	for (u32 i = 0; i < c.count_modes && i < MODES; i++) {
		if (modes[i].hdisplay != width || modes[i].vdisplay != height)
			continue;
		drm->mode = modes[i];
		return;
	}
	t_fail("%s has no mode %ux%u", drm->bdf, width, height);
}

struct drm *drm_open(const char *role, u32 width, u32 height)
{
	struct drm *drm = calloc(1, sizeof(*drm));
	char path[64];

	expect(drm);
	if (!t_kernel_since(7, 2))
		t_skip("this kernel's virtio-gpu imports nothing");
	drm->role = role;
	snprintf(drm->bdf, sizeof(drm->bdf), "%s", t_role(role));
	expect(t_within(PROBE_MS, find_card(drm->bdf, path, sizeof(path))),
	       "%s has no card", drm->bdf);
	drm->fd = expect_ok(open(path, O_RDWR | O_CLOEXEC));
	find_mode(drm, width, height);
	return drm;
}

void drm_close(struct drm *drm)
{
	close(drm->fd);
	free(drm);
}

int drm_import(const struct drm *drm, int dmabuf, u32 *handle)
{
	struct prime_handle req = { .fd = dmabuf };
	int ret = call(drm, PRIME_IMPORT, &req);

	*handle = req.handle;
	return ret;
}

int drm_forget(const struct drm *drm, u32 handle)
{
	struct gem_close req = { .handle = handle };

	return call(drm, GEM_CLOSE, &req);
}

int drm_add_fb_of(const struct drm *drm, u32 handle, u64 offset, u32 height,
		  u32 *fb)
{
	struct mode_fb2 req = {
		.width = drm->mode.hdisplay,
		.height = height,
		.format = XRGB8888,
		.handles = { handle },
		.pitches = { drm->mode.hdisplay * 4 },
		.offsets = { offset },
	};
	int ret = call(drm, ADD_FB2, &req);

	*fb = req.fb;
	return ret;
}

int drm_add_fb(const struct drm *drm, u32 handle, u64 offset, u32 *fb)
{
	return drm_add_fb_of(drm, handle, offset, drm->mode.vdisplay, fb);
}

int drm_rm_fb(const struct drm *drm, u32 fb)
{
	return call(drm, RM_FB, &fb);
}

int drm_show(const struct drm *drm, u32 fb)
{
	struct mode_crtc req = {
		.connectors = (uintptr_t)&drm->connector,
		.count_connectors = 1,
		.crtc = drm->crtc,
		.fb = fb,
		.mode_valid = 1,
		.mode = drm->mode,
	};

	return call(drm, SET_CRTC, &req);
}

int drm_flip(const struct drm *drm, u32 fb)
{
	struct mode_flip req = {
		.crtc = drm->crtc,
		.fb = fb,
		.flags = FLIP_EVENT,
	};
	struct pollfd pollfd = { .fd = drm->fd, .events = POLLIN };
	char event[256];
	int ret = call(drm, PAGE_FLIP, &req);

	if (ret)
		return ret;
	expect_eq(poll(&pollfd, 1, 20000), 1);
	expect_ge(read(drm->fd, event, sizeof(event)), 1);
	return 0;
}

int drm_dirty(const struct drm *drm, u32 fb)
{
	struct mode_dirty req = { .fb = fb };

	return call(drm, DIRTY_FB, &req);
}

void *drm_dumb(const struct drm *drm, u32 *handle)
{
	struct mode_dumb req = {
		.width = drm->mode.hdisplay,
		.height = drm->mode.vdisplay,
		.bpp = 32,
	};
	struct mode_map_dumb map = {};
	void *p;

	expect_eq(call(drm, CREATE_DUMB, &req), 0);
	expect_eq(req.pitch, req.width * 4);
	map.handle = *handle = req.handle;
	expect_eq(call(drm, MAP_DUMB, &map), 0);
	p = mmap(NULL, req.size, PROT_READ | PROT_WRITE, MAP_SHARED, drm->fd,
		 map.offset);
	expect(p != MAP_FAILED, "mmap: %s", t_errno_name(errno));
	return p;
}
