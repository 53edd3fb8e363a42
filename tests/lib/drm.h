/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A graphics card as a process uses it: import a dma-buf, make a framebuffer of
 * it, show that on the card's screen. By ioctls of the kernel's ABI alone.
 * Calls return 0 or -errno unless they say otherwise.
 */
#ifndef DVP_LIB_DRM_H
#define DVP_LIB_DRM_H

#include "vfio.h"

struct drm_mode {
	u32 clock;
	u16 hdisplay, hsync_start, hsync_end, htotal, hskew;
	u16 vdisplay, vsync_start, vsync_end, vtotal, vscan;
	u32 vrefresh;
	u32 flags;
	u32 type;
	char name[32];
};

struct drm {
	const char *role;
	char bdf[VFIO_BDF_LEN];
	int fd;
	u32 crtc;
	u32 connector;
	struct drm_mode mode;
};

/*
 * Opens the card of the virtio GPU of that role, whose screen is ours then, to
 * be used in a mode of that size. Skips without such a role, or on a kernel
 * whose virtio-gpu imports nothing.
 */
struct drm *drm_open(const char *role, u32 width, u32 height);
void drm_close(struct drm *drm);

int drm_import(const struct drm *drm, int dmabuf, u32 *handle);
int drm_forget(const struct drm *drm, u32 handle);

/* A framebuffer of the mode's size, of 32-bit pixels, at @offset of @handle */
int drm_add_fb(const struct drm *drm, u32 handle, u64 offset, u32 *fb);
int drm_add_fb_of(const struct drm *drm, u32 handle, u64 offset, u32 height,
		  u32 *fb);
int drm_rm_fb(const struct drm *drm, u32 fb);

int drm_show(const struct drm *drm, u32 fb);	/* sets the mode, too */
int drm_flip(const struct drm *drm, u32 fb);	/* done when it returns */
int drm_dirty(const struct drm *drm, u32 fb);	/* its pixels have changed */

/* Memory of the card's own, mapped */
void *drm_dumb(const struct drm *drm, u32 *handle);

#endif /* DVP_LIB_DRM_H */
