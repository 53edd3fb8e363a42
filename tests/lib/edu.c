// SPDX-License-Identifier: GPL-2.0-only
/*
 * An edu driven through VFIO.
 */
#include <string.h>
#include <sys/mman.h>

#include "edu.h"

#define REG_SOURCE	(0x80 / 8)
#define REG_DEST	(0x88 / 8)
#define REG_COUNT	(0x90 / 8)
#define REG_COMMAND	(0x98 / 8)
#define COMMAND_START	0x1
#define COMMAND_OUT	0x2		/* from the device */
#define INTERNAL	0x40000ull
#define MAX_LEN		4095u		/* one more byte ends the emulator */
#define TRANSFER_MS	5000

static u64 get(struct edu *edu, int reg)
{
	return __atomic_load_n(&edu->regs[reg], __ATOMIC_RELAXED);
}

static void set(struct edu *edu, int reg, u64 value)
{
	__atomic_store_n(&edu->regs[reg], value, __ATOMIC_RELAXED);
}

static void transfer(struct edu *edu, u64 from, u64 to, u32 len, u64 direction)
{
	expect_le(len, MAX_LEN);
	set(edu, REG_SOURCE, from);
	set(edu, REG_DEST, to);
	set(edu, REG_COUNT, len);
	set(edu, REG_COMMAND, COMMAND_START | direction);
	expect(t_within(TRANSFER_MS, !(get(edu, REG_COMMAND) & COMMAND_START)),
	       "the edu does not finish");
}

void edu_init(struct edu *edu, struct vfio_dev *dev)
{
	edu->dev = dev;
	vfio_mem_enable(dev, true);
	vfio_master_enable(dev, true);
	edu->regs = vfio_map_bar(dev, 0, 0, 4096);
	edu->bounce = mmap(NULL, EDU_BOUNCE_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(edu->bounce != MAP_FAILED);
}

void edu_open(struct edu *edu, const char *role)
{
	edu_init(edu, vfio_open(role));
	vfio_dma_map(edu->dev, edu->bounce, EDU_BOUNCE_SIZE, EDU_BOUNCE_IOVA);
}

void edu_write(struct edu *edu, u64 iova, const void *buf, u32 len)
{
	memcpy(edu->bounce, buf, len);
	transfer(edu, EDU_BOUNCE_IOVA, INTERNAL, len, 0);
	transfer(edu, INTERNAL, iova, len, COMMAND_OUT);
}

void edu_read(struct edu *edu, u64 iova, void *buf, u32 len)
{
	/* So that a transfer that leads nowhere does not look like one. */
	memset(edu->bounce, 0xa5, len);
	transfer(edu, EDU_BOUNCE_IOVA, INTERNAL, len, 0);
	transfer(edu, iova, INTERNAL, len, 0);
	transfer(edu, INTERNAL, EDU_BOUNCE_IOVA, len, COMMAND_OUT);
	memcpy(buf, edu->bounce, len);
}
