// SPDX-License-Identifier: GPL-2.0-only
/*
 * The second act of the demo: a picture in a BAR of one device, on the screen
 * of another, whose driver is the kernel's own.
 */
#include <string.h>
#include <unistd.h>

#include "demo.h"
#include "drm.h"
#include "picture.h"
#include "vfio.h"

#define BAR	0
#define AT	MIB(32)

TEST_TIMEOUT(picture, of_a_bar, 120)
{
	struct drm *drm = drm_open("gpu", PICTURE_WIDTH, PICTURE_HEIGHT);
	struct picture *pic = picture_draw(0);
	struct vfio_dev *dev;
	u32 handle, fb;
	void *bytes;
	u64 start;
	int fd;

	say("1. Open a graphics card %s through VFIO, and draw into its BAR %d",
	    t_role("bochs"), BAR);
	dev = vfio_open_exporter("bochs");
	vfio_mem_enable(dev, true);
	bytes = vfio_map_bar(dev, BAR, AT, PICTURE_SIZE);
	memcpy(bytes, pic->pixels, PICTURE_SIZE);
	fd = expect_fd(export_range(dev, BAR, AT, PICTURE_SIZE));
	check(lseek(fd, 0, SEEK_END) == PICTURE_SIZE,
	      "dma-buf of %llu MiB", PICTURE_SIZE >> 20);

	say("2. Hand the file descriptor to the kernel's virtio-gpu, %s",
	    drm->bdf);
	check(!drm_import(drm, fd, &handle), "DRM_IOCTL_PRIME_FD_TO_HANDLE");
	check(!drm_add_fb(drm, handle, 0, &fb), "DRM_IOCTL_MODE_ADDFB2");
	check(!drm_show(drm, fb), "DRM_IOCTL_MODE_SETCRTC");

	say("3. Compare its screen with what was drawn");
	picture_expect("gpu", pic, "picture");
	check(picture_shown("gpu", pic) == PICTURE_BANDS,
	      "each of %d pixels is the same", PICTURE_PIXELS);

	say("4. Take the memory back for good while it is on the screen");
	start = t_now_ns();
	expect_eq(vfio_revoke(dev->fd, fd), 0);
	check(true, "virtio-gpu let go within %llu ms",
	      (unsigned long long)(t_now_ns() - start) / 1000000 + 1);
	check(drm_show(drm, fb) == -ENODEV, "and cannot have it again");

	say("demo: the picture is in build/picture.png; %u checks passed",
	    checks);
}
