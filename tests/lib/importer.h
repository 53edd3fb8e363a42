/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The test importer as cases use it: ioctls of /dev/dvp_importer, which
 * return -errno, and edu devices, which move bytes.
 */
#ifndef DVP_LIB_IMPORTER_H
#define DVP_LIB_IMPORTER_H

#include "../importer/dvp_importer.h"
#include "harness.h"

#define IMPORTER_DRIVER	"dvp_importer"
#define EDU_MAX_LEN	4095		/* bytes a transfer */

/* A mapping as the device sees it; imp_map_free() frees @segs alone. */
struct imp_map {
	u32 nents;
	u32 orig_nents;
	u32 has_pages;
	u64 size;			/* sum of the lengths */
	struct dvpi_seg *segs;
};

/* Opens the importer; skips where there is none. */
int imp_open(void);

/* Binds the edu of that role to the importer; its address. */
const char *imp_edu(const char *role);

/*
 * Attaches @client to the buffer @fd. @provider: whose COMMAND is to be
 * sampled, or NULL. Returns the handle.
 */
int imp_attach_flags(int imp, int fd, const char *client, u32 flags,
		     const char *provider);
int imp_attach(int imp, int fd, const char *client);	/* as is well */
int imp_detach(int imp, u32 handle);

/* @map may be NULL. */
int imp_map_dir(int imp, u32 handle, u32 dir, struct imp_map *map);
int imp_map(int imp, u32 handle, struct imp_map *map);	/* bidirectional */
int imp_map_more(int imp, u32 handle, struct imp_map *map);	/* one more */
int imp_unmap(int imp, u32 handle);			/* all of them */
void imp_map_free(struct imp_map *map);

/* The device's address of a byte of the buffer, @len of them in one piece. */
u64 imp_addr(const struct imp_map *map, u64 offset, u64 len);

int imp_pin(int imp, u32 handle);
int imp_unpin(int imp, u32 handle);
int imp_policy(int imp, u32 handle, u32 flags, u32 unmap_ms, u32 fence_ms);

/* Never lets go; does not even return when told; sleeps when told. */
int imp_keep(int imp, u32 handle);
int imp_stuck(int imp, u32 handle, u32 flags);
int imp_release(int imp, u32 handle);		/* ends what is stuck */
int imp_sleepy(int imp, u32 handle, u32 flags, u32 sleep_ms);

/* A sync_file whose fence signals after @ms; a descriptor. */
int imp_sync_file(int imp, u32 ms);

/* Puts it into a buffer, as any holder of @fd may, and closes it. */
int imp_import_fence(int imp, int fd, u32 ms);

int imp_fence(int imp, u32 handle, u32 ms);
int imp_fence_signal(int imp, u32 handle);
struct dvpi_stats imp_stats(int imp, u32 handle);
int imp_loop(int imp, u32 handle, u32 count, u32 *failures);

/* The engine of @edu: an address, as imp_edu() returns it. */
int imp_write(int imp, const char *edu, u64 addr, const void *buf, u32 len);
int imp_read(int imp, const char *edu, u64 addr, void *buf, u32 len);

/* A write that is under way for @ms, some 100 at most, when @handle unmaps. */
int imp_cut(int imp, const char *edu, u64 addr, const void *buf, u32 len,
	    u32 handle, u32 ms, bool *busy);

/* The kernel's own view. False: it has none. */
bool imp_verdict(int imp, const char *provider, const char *client,
		 int *distance);
int imp_claim(int imp, const char *bdf, u32 bar, bool on);
int imp_phys(int imp, u32 handle, u64 *phys, u64 *size);

/* The entry of this process's page table for an address; zero: none. */
u64 imp_pte(int imp, const void *addr, u64 *size);
int imp_hold_fork(int imp, const void *addr, u32 ms, u32 *held);
int imp_occupy(int imp, const char *client, u64 iova, bool on);

/* What the kernel takes an unbound function for, until @imp is closed */
int imp_pose(int imp, const char *bdf, u16 vendor, u16 device, u32 class);

/* vfio_pci_core answers so to an ioctl, or a feature, until @imp is closed. */
int imp_teach(int imp, u32 number, bool feature, int answer);

/* A USB device controller says it does scatter-gather, until @imp is closed. */
int imp_gadget(int imp, const char *udc);

#endif /* DVP_LIB_IMPORTER_H */
