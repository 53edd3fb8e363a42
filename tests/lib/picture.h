/* SPDX-License-Identifier: GPL-2.0-only */
/* A picture of which each pixel is known, and what a screen of QEMU's shows. */
#ifndef DVP_LIB_PICTURE_H
#define DVP_LIB_PICTURE_H

#include "harness.h"

#define PICTURE_WIDTH	1024
#define PICTURE_HEIGHT	768
#define PICTURE_PIXELS	(PICTURE_WIDTH * PICTURE_HEIGHT)
#define PICTURE_SIZE	(PICTURE_PIXELS * 4ull)
#define PICTURE_BAND	16	/* rows that are compared at a time */
#define PICTURE_BANDS	(PICTURE_HEIGHT / PICTURE_BAND)

struct picture {
	u32 pixels[PICTURE_PIXELS];	/* 0x00rrggbb */
	u32 crcs[PICTURE_BANDS];
};

/* The sun stands elsewhere in each @frame. Allocated. */
struct picture *picture_draw(unsigned int frame);
struct picture *picture_fill(u32 pixel);

/*
 * The screen of the card with that role shows the picture, each pixel of it, or
 * does so after a moment. @name: it is then kept as build/@name.png, or NULL.
 */
void picture_expect_at(const char *file, int line, const char *role,
		       const struct picture *want, const char *name);

#define picture_expect(role, want, name)				\
	picture_expect_at(__FILE__, __LINE__, role, want, name)

/* Bands of the picture that the screen shows now, of PICTURE_BANDS */
unsigned int picture_shown(const char *role, const struct picture *pic);

#endif /* DVP_LIB_PICTURE_H */
