// SPDX-License-Identifier: GPL-2.0-only
/* Draws a picture, and compares it with a screen by way of the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

#define HORIZON		520
#define SUN_Y		360
#define SUN_RADIUS	170
#define SHOW_MS		20000	/* a screen may take on a busy host */

/* Letters of 5 by 8 dots, a byte a row */
static const u8 font[128][8] = {
	['a'] = { 0x00, 0x00, 0x0e, 0x01, 0x0f, 0x11, 0x0f, 0x00 },
	['b'] = { 0x10, 0x10, 0x16, 0x19, 0x11, 0x11, 0x1e, 0x00 },
	['c'] = { 0x00, 0x00, 0x0e, 0x11, 0x10, 0x11, 0x0e, 0x00 },
	['d'] = { 0x01, 0x01, 0x0d, 0x13, 0x11, 0x11, 0x0f, 0x00 },
	['e'] = { 0x00, 0x00, 0x0e, 0x11, 0x1f, 0x10, 0x0e, 0x00 },
	['f'] = { 0x06, 0x09, 0x08, 0x1c, 0x08, 0x08, 0x08, 0x00 },
	['h'] = { 0x10, 0x10, 0x16, 0x19, 0x11, 0x11, 0x11, 0x00 },
	['i'] = { 0x04, 0x00, 0x0c, 0x04, 0x04, 0x04, 0x0e, 0x00 },
	['m'] = { 0x00, 0x00, 0x1a, 0x15, 0x15, 0x15, 0x15, 0x00 },
	['n'] = { 0x00, 0x00, 0x16, 0x19, 0x11, 0x11, 0x11, 0x00 },
	['o'] = { 0x00, 0x00, 0x0e, 0x11, 0x11, 0x11, 0x0e, 0x00 },
	['p'] = { 0x00, 0x00, 0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10 },
	['r'] = { 0x00, 0x00, 0x16, 0x19, 0x10, 0x10, 0x10, 0x00 },
	['s'] = { 0x00, 0x00, 0x0f, 0x10, 0x0e, 0x01, 0x1e, 0x00 },
	['t'] = { 0x08, 0x08, 0x1c, 0x08, 0x08, 0x09, 0x06, 0x00 },
	['u'] = { 0x00, 0x00, 0x11, 0x11, 0x11, 0x13, 0x0d, 0x00 },
	['v'] = { 0x00, 0x00, 0x11, 0x11, 0x11, 0x0a, 0x04, 0x00 },
	['y'] = { 0x00, 0x00, 0x11, 0x11, 0x11, 0x0f, 0x01, 0x0e },
	['\''] = { 0x04, 0x04, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00 },
	['-'] = { 0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00, 0x00 },
};

static u32 rgb(int r, int g, int b)
{
	return (u32)r << 16 | (u32)g << 8 | (u32)b;
}

/* From @a at 0 to @b at @of */
static u32 blend(u32 a, u32 b, int at, int of)
{
	u32 mixed = 0;

	for (int shift = 0; shift < 24; shift += 8) {
		int from = a >> shift & 0xff, to = b >> shift & 0xff;

		mixed |= (u32)(from + (to - from) * at / of) << shift;
	}
	return mixed;
}

/* Up and down between 0 and @height, once in @period */
static int ridge(int x, int period, int height)
{
	int at = x % period;

	if (at > period / 2)
		at = period - at;
	return at * height * 2 / period;
}

static u32 sky(int x, int y, int sun_x)
{
	int dx = x - sun_x, dy = y - SUN_Y;

	if (dx * dx + dy * dy < SUN_RADIUS * SUN_RADIUS &&
	    (dy < 10 || dy % 24 > dy / 12))
		return blend(rgb(255, 226, 90), rgb(255, 60, 120),
			     dy + SUN_RADIUS, 2 * SUN_RADIUS);
	return blend(rgb(16, 12, 56), rgb(232, 96, 120), y, HORIZON);
}

/* Lines that meet behind the horizon, and others that get closer to it */
static u32 ground(int x, int y)
{
	int depth = y - HORIZON + 12, far = 40000 / depth;
	int across = (x - PICTURE_WIDTH / 2) * 1000 / depth + 1000000;

	if (across % 1500 < 24000 / depth || far % 260 < 4 + far / 24)
		return blend(rgb(120, 40, 150), rgb(70, 240, 255),
			     y - HORIZON, PICTURE_HEIGHT - HORIZON);
	return blend(rgb(40, 10, 60), rgb(6, 4, 20), y - HORIZON,
		     PICTURE_HEIGHT - HORIZON);
}

static u32 scene(int x, int y, int sun_x)
{
	int far = 40 + ridge(x + 90, 340, 90) + ridge(x, 62, 14);
	int near = 10 + ridge(x + 240, 480, 80) + ridge(x + 17, 94, 18);

	if (y >= HORIZON)
		return ground(x, y);
	if (y >= HORIZON - near)
		return rgb(24, 12, 44);
	if (y >= HORIZON - far)
		return rgb(70, 30, 92);
	return sky(x, y, sun_x);
}

static void write_text(struct picture *pic, const char *text, int top,
		       int scale, u32 color, int offset)
{
	int left = (PICTURE_WIDTH - (int)strlen(text) * 6 * scale) / 2 + offset;

	for (; *text; text++, left += 6 * scale) {
		const u8 *rows = font[*text & 0x7f];

		for (int i = 0; i < 40 * scale * scale; i++) {
			int x = i % (5 * scale), y = i / (5 * scale);

			if (rows[y / scale] >> (4 - x / scale) & 1)
				pic->pixels[(top + offset + y) * PICTURE_WIDTH +
					    left + x] = color;
		}
	}
}

static u32 crc32(const struct picture *pic, int band)
{
	const u32 *p = pic->pixels + band * PICTURE_BAND * PICTURE_WIDTH;
	static u32 table[256];
	u32 crc = ~0u;

	for (u32 i = 0; !table[255] && i < 256; i++) {
		u32 value = i;

		for (int bit = 0; bit < 8; bit++)
			value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
		table[i] = value;
	}
	for (int i = 0; i < PICTURE_BAND * PICTURE_WIDTH; i++)
		for (int shift = 16; shift >= 0; shift -= 8)
			crc = crc >> 8 ^ table[(crc ^ p[i] >> shift) & 0xff];
	return ~crc;
}

static struct picture *picture_new(void)
{
	struct picture *pic = calloc(1, sizeof(*pic));

	expect(pic);
	return pic;
}

static struct picture *picture_done(struct picture *pic)
{
	for (int i = 0; i < PICTURE_BANDS; i++)
		pic->crcs[i] = crc32(pic, i);
	return pic;
}

struct picture *picture_draw(unsigned int frame)
{
	int sun_x = 512 + (int)(frame % 8) * 60;
	struct picture *pic = picture_new();

	for (int y = 0; y < PICTURE_HEIGHT; y++)
		for (int x = 0; x < PICTURE_WIDTH; x++)
			pic->pixels[y * PICTURE_WIDTH + x] = scene(x, y, sun_x);
	write_text(pic, "dmabuf-vfio-pci", 84, 10, rgb(10, 6, 30), 6);
	write_text(pic, "dmabuf-vfio-pci", 84, 10, rgb(255, 255, 255), 0);
	write_text(pic, "one device's memory on another one's screen", 607, 3,
		   rgb(10, 6, 30), 2);
	write_text(pic, "one device's memory on another one's screen", 607, 3,
		   rgb(255, 236, 150), 0);
	return picture_done(pic);
}

struct picture *picture_fill(u32 pixel)
{
	struct picture *pic = picture_new();

	for (int i = 0; i < PICTURE_PIXELS; i++)
		pic->pixels[i] = pixel;
	return picture_done(pic);
}

/* Marks which bands are as in the picture; how many that are. */
static unsigned int compare(const char *role, const struct picture *pic,
			    const char *name, bool *same)
{
	const char *answer = t_host("screen %s%s%s", role, name ? " " : "",
				    name ? name : "");
	unsigned int width, height, equal = 0;
	int used = 0;

	expect(sscanf(answer, "%u %u%n", &width, &height, &used) == 2,
	       "the host says: %s", answer);
	memset(same, 0, PICTURE_BANDS);
	if (width != PICTURE_WIDTH || height != PICTURE_HEIGHT)
		return 0;
	for (int i = 0; i < PICTURE_BANDS; i++) {
		u32 crc;

		answer += used;
		expect_eq(sscanf(answer, "%x%n", &crc, &used), 1);
		same[i] = crc == pic->crcs[i];
		equal += same[i];
	}
	return equal;
}

unsigned int picture_shown(const char *role, const struct picture *pic)
{
	bool same[PICTURE_BANDS];

	return compare(role, pic, NULL, same);
}

void picture_expect_at(const char *file, int line, const char *role,
		       const struct picture *want, const char *name)
{
	bool same[PICTURE_BANDS];
	unsigned int i;

	if (t_within(SHOW_MS, compare(role, want, name, same) ==
		     PICTURE_BANDS))
		return;
	compare(role, want, "wrong-picture", same);
	for (i = 0; same[i]; i++)
		;
	t_fail_at(file, line, "%s: row %u differs: build/wrong-picture.png",
		  role, i * PICTURE_BAND);
}
