/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dvp_importer: the test importer's ioctls, /dev/dvp_importer.
 *
 * A stand-in for an RDMA NIC. It binds to QEMU's "edu" devices and drives
 * their DMA engine, and it attaches any PCI function as an importer of any
 * dma-buf. What a file attached, mapped or occupied goes away with the file.
 */
#ifndef DVP_IMPORTER_H
#define DVP_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define DVPI_BDF_LEN		16	/* "0000:01:00.0" and its NUL */
#define DVPI_MAX_SEGS		65536	/* room for one DVPI_MAP */
#define DVPI_MAX_MORE		3	/* mappings of one attachment */
#define DVPI_UNKNOWN		0xffffffffu

/* How to attach: an importer that has neither cannot be revoked. */
#define DVPI_ATTACH_P2P		0x1	/* takes peer memory */
#define DVPI_ATTACH_NOTIFY	0x2	/* can be told to let go */
#define DVPI_ATTACH_NARROW	0x4	/* has a DMA mask of 32 bits */
#define DVPI_ATTACH_DYNAMIC	(DVPI_ATTACH_P2P | DVPI_ATTACH_NOTIFY)

/**
 * struct dvpi_attach - DVPI_ATTACH: attach a function to a buffer
 * @fd: the dma-buf
 * @flags: DVPI_ATTACH_*
 * @client: the function on whose behalf to attach
 * @provider: the function whose COMMAND register the invalidate callback
 *	samples, may be empty
 * @handle: out, names the attachment in every other call
 * @pad: zero
 */
struct dvpi_attach {
	__s32 fd;
	__u32 flags;
	char client[DVPI_BDF_LEN];
	char provider[DVPI_BDF_LEN];
	__u32 handle;
	__u32 pad;
};

struct dvpi_seg {
	__u64 addr;
	__u64 len;
};

#define DVPI_TO_DEVICE		1	/* the values of dma_data_direction */
#define DVPI_FROM_DEVICE	2
#define DVPI_BIDIRECTIONAL	0

/**
 * struct dvpi_map - DVPI_MAP: map the attachment; DVPI_MAP_MORE: once more
 * @handle: attachment
 * @dir: DVPI_BIDIRECTIONAL and so on
 * @segs: user pointer to struct dvpi_seg[@max]
 * @max: room in @segs, up to DVPI_MAX_SEGS
 * @nents: out, DMA entries of the mapping (may exceed @max)
 * @orig_nents: out, what the sg_table says of a CPU list
 * @has_pages: out, non-zero when an entry names a struct page
 *
 * With CONFIG_DMABUF_DEBUG the core hides the exporter's table, and
 * @orig_nents and @has_pages are DVPI_UNKNOWN.
 *
 * DVPI_MAP: EALREADY when there is a mapping (DVPI_UNMAP: when there is none);
 * any other error is the exporter's. DVPI_MAP_MORE adds up to DVPI_MAX_MORE to
 * the one there is, ENOSPC. An unmap ends them all.
 */
struct dvpi_map {
	__u32 handle;
	__u32 dir;
	__u64 segs;
	__u32 max;
	__u32 nents;
	__u32 orig_nents;
	__u32 has_pages;
};

/**
 * struct dvpi_policy - DVPI_POLICY: what to do when told to let go
 * @handle: attachment
 * @flags: DVPI_POLICY_*
 * @unmap_ms: delay before the unmap, milliseconds
 * @fence_ms: with DVPI_POLICY_FENCE: the fence added by the callback signals
 *	after that many milliseconds
 * @sleep_ms: the callback sleeps for that long, the reservation lock held
 * @pad: zero
 *
 * The default unmaps at once, from a work item. A process that exits lets go
 * of everything, so that the close of its VFIO file has nobody to wait for.
 *
 * While a callback is stuck or sleeps, a request that needs the reservation
 * lock waits for it. DVPI_STATS, DVPI_RELEASE and DVPI_FENCE_SIGNAL do not.
 */
struct dvpi_policy {
	__u32 handle;
	__u32 flags;
	__u32 unmap_ms;
	__u32 fence_ms;
	__u32 sleep_ms;
	__u32 pad;
};

#define DVPI_POLICY_KEEP	0x1	/* never unmap by itself */
#define DVPI_POLICY_FENCE	0x2	/* leave a fence in the callback */
#define DVPI_POLICY_REMAP	0x4	/* try to map again until it works */
#define DVPI_POLICY_STUCK	0x8	/* callback waits for DVPI_RELEASE */
#define DVPI_POLICY_SLOPPY	0x10	/* detach without an unmap */

/**
 * struct dvpi_fence - DVPI_FENCE: add a fence to the buffer, as a job would
 * @handle: attachment
 * @ms: it signals after that many milliseconds; 0: at DVPI_FENCE_SIGNAL
 */
struct dvpi_fence {
	__u32 handle;
	__u32 ms;
};

/**
 * struct dvpi_stats - DVPI_STATS: what happened to an attachment
 * @handle: attachment
 * @mapped: non-zero while mapped
 * @invalidations: times it was told to let go
 * @maps: maps that succeeded
 * @unmaps: unmaps
 * @map_failures: maps that were refused
 * @last_map_errno: of the last refused map, positive
 * @command: the provider's COMMAND at the last invalidation, ~0 when unknown
 * @invalidate_ns: CLOCK_MONOTONIC of the last invalidation
 * @unmap_ns: of the last unmap
 * @fence_ns: of the last fence's signal
 * @inside: callbacks that have not returned
 * @pad: zero
 */
struct dvpi_stats {
	__u32 handle;
	__u32 mapped;
	__u32 invalidations;
	__u32 maps;
	__u32 unmaps;
	__u32 map_failures;
	__u32 last_map_errno;
	__u32 command;
	__u64 invalidate_ns;
	__u64 unmap_ns;
	__u64 fence_ns;
	__u32 inside;
	__u32 pad;
};

/**
 * struct dvpi_dma - DVPI_DMA: have an edu device move bytes
 * @client: the edu device
 * @addr: the device's view of the memory
 * @buf: user pointer
 * @len: 1 to 4095 bytes
 * @write: non-zero: @buf to @addr; zero: @addr to @buf
 *
 * Succeeds when the engine has finished, whatever became of the bytes.
 */
struct dvpi_dma {
	char client[DVPI_BDF_LEN];
	__u64 addr;
	__u64 buf;
	__u32 len;
	__u32 write;
};

/**
 * struct dvpi_cut - DVPI_CUT: unmap just before an edu device writes
 * @client: the edu device
 * @addr: the device's view of the memory
 * @buf: user pointer to the bytes
 * @len: 1 to 4095 bytes
 * @handle: attachment, unmapped after @ms
 * @ms: since the engine was told to write; it takes about 100 to do so
 * @busy: out, non-zero when it had not yet done so after the unmap
 *
 * For caches that outlive a mapping by less than an engine's start takes.
 */
struct dvpi_cut {
	char client[DVPI_BDF_LEN];
	__u64 addr;
	__u64 buf;
	__u32 len;
	__u32 handle;
	__u32 ms;
	__u32 busy;
};

/**
 * struct dvpi_verdict - DVPI_VERDICT: what the kernel says of a pair
 * @provider: function that has the memory
 * @client: function that is to reach it
 * @distance: out, pci_p2pdma_distance_many(), negative: not at all
 * @known: out, zero on kernels without CONFIG_PCI_P2PDMA
 */
struct dvpi_verdict {
	char provider[DVPI_BDF_LEN];
	char client[DVPI_BDF_LEN];
	__s32 distance;
	__u32 known;
};

/**
 * struct dvpi_claim - DVPI_CLAIM: reserve a BAR as another driver would
 * @bdf: function
 * @bar: 0 to 5
 * @on: non-zero claims, zero releases
 */
struct dvpi_claim {
	char bdf[DVPI_BDF_LEN];
	__u32 bar;
	__u32 on;
};

/**
 * struct dvpi_occupy - DVPI_OCCUPY: put a page of ours at an IOVA
 * @client: function whose IOMMU domain is meant
 * @iova: page-aligned
 * @on: non-zero maps, zero unmaps
 * @pad: zero
 *
 * A later map of the exporter that uses this IOVA fails. EOPNOTSUPP when
 * nothing translates for @client.
 */
struct dvpi_occupy {
	char client[DVPI_BDF_LEN];
	__u64 iova;
	__u32 on;
	__u32 pad;
};

/**
 * struct dvpi_loop - DVPI_LOOP: map and unmap many times
 * @handle: attachment, not mapped
 * @count: times
 * @failures: out, maps that failed
 * @pad: zero
 *
 * EALREADY when there is a mapping; the loop ends there.
 */
struct dvpi_loop {
	__u32 handle;
	__u32 count;
	__u32 failures;
	__u32 pad;
};

/**
 * struct dvpi_cycle - DVPI_CYCLE: attach, map, unmap, detach, and time each
 * @fd: the dma-buf
 * @pad: zero
 * @client: the function on whose behalf
 * @attach: out, ticks of the processor's counter that the core's call took
 * @map: out, the same
 * @unmap: out, the same
 * @detach: out, the same
 */
struct dvpi_cycle {
	__s32 fd;
	__u32 pad;
	char client[DVPI_BDF_LEN];
	__u64 attach;
	__u64 map;
	__u64 unmap;
	__u64 detach;
};

/**
 * struct dvpi_phys - DVPI_PHYS: where an attachment's buffer is
 * @handle: attachment
 * @pad: zero
 * @phys: out, as dvp_dma_buf_phys() says
 * @size: out
 *
 * EPROTO when the exporter's module is not there.
 */
struct dvpi_phys {
	__u32 handle;
	__u32 pad;
	__u64 phys;
	__u64 size;
};

/**
 * struct dvpi_pte - DVPI_PTE: what the caller's page table says of an address
 * @addr: in the caller's memory
 * @entry: out, the entry as the CPU sees it, zero when there is none
 * @size: out, bytes that the entry maps
 */
struct dvpi_pte {
	__u64 addr;
	__u64 entry;
	__u64 size;
};

/**
 * struct dvpi_sync_file - DVPI_SYNC_FILE: a sync_file with a fence of ours
 * @ms: the fence signals after that many milliseconds
 * @fd: out, the new descriptor, closed on exec
 *
 * For DMA_BUF_IOCTL_IMPORT_SYNC_FILE, by which any holder of a buffer's
 * descriptor adds a fence to it.
 */
struct dvpi_sync_file {
	__u32 ms;
	__s32 fd;
};

/**
 * struct dvpi_pose - DVPI_POSE: have the kernel take a function for another
 * @bdf: function, not bound; one for each open file
 * @vendor: what the kernel shall know it by
 * @device: the same
 * @class: 24 bits
 *
 * Config space stays as it is. Ends when the file is closed.
 */
struct dvpi_pose {
	char bdf[DVPI_BDF_LEN];
	__u16 vendor;
	__u16 device;
	__u32 class;
};

/**
 * struct dvpi_teach - DVPI_TEACH: have vfio_pci_core know one more request
 * @number: of an ioctl, or of a feature
 * @feature: non-zero: of a feature
 * @answer: what the core returns to it from now on
 * @pad: zero
 *
 * One at a time (EBUSY), until the file is closed.
 */
struct dvpi_teach {
	__u32 number;
	__u32 feature;
	__s32 answer;
	__u32 pad;
};

/**
 * struct dvpi_gadget - DVPI_GADGET: a USB device controller does scatter-gather
 * @name: platform device, "dummy_udc.0"
 *
 * No transfer may be asked of it. One for each open file; ends when that is
 * closed.
 */
struct dvpi_gadget {
	char name[32];
};

/**
 * struct dvpi_fork - DVPI_FORK: hold up a fork as it copies a huge entry
 * @addr: that the entry maps
 * @ms: the next fork of the calling thread that copies it is held for so many
 *	milliseconds, once: after it has read the entry, before it has a lock
 * @held: out, times that a fork has been held so far
 *
 * With @ms of zero @held is all. One thread at a time (EBUSY), until the file
 * is closed. x86 only: elsewhere EOPNOTSUPP.
 */
struct dvpi_fork {
	__u64 addr;
	__u32 ms;
	__u32 held;
};

#define DVPI_BASE		'I'
#define DVPI_ATTACH		_IOWR(DVPI_BASE, 1, struct dvpi_attach)
#define DVPI_DETACH		_IO(DVPI_BASE, 2)	/* arg: handle */
#define DVPI_MAP		_IOWR(DVPI_BASE, 3, struct dvpi_map)
#define DVPI_UNMAP		_IO(DVPI_BASE, 4)	/* arg: handle */
#define DVPI_PIN		_IO(DVPI_BASE, 5)	/* arg: handle */
#define DVPI_UNPIN		_IO(DVPI_BASE, 6)	/* arg: handle */
#define DVPI_POLICY		_IOW(DVPI_BASE, 7, struct dvpi_policy)
#define DVPI_FENCE		_IOW(DVPI_BASE, 8, struct dvpi_fence)
#define DVPI_FENCE_SIGNAL	_IO(DVPI_BASE, 9)	/* arg: handle */
#define DVPI_STATS		_IOWR(DVPI_BASE, 10, struct dvpi_stats)
#define DVPI_DMA		_IOW(DVPI_BASE, 11, struct dvpi_dma)
#define DVPI_VERDICT		_IOWR(DVPI_BASE, 12, struct dvpi_verdict)
#define DVPI_CLAIM		_IOW(DVPI_BASE, 13, struct dvpi_claim)
#define DVPI_OCCUPY		_IOW(DVPI_BASE, 14, struct dvpi_occupy)
#define DVPI_LOOP		_IOWR(DVPI_BASE, 15, struct dvpi_loop)
#define DVPI_CUT		_IOWR(DVPI_BASE, 16, struct dvpi_cut)
#define DVPI_PHYS		_IOWR(DVPI_BASE, 17, struct dvpi_phys)
#define DVPI_PTE		_IOWR(DVPI_BASE, 18, struct dvpi_pte)
#define DVPI_RELEASE		_IO(DVPI_BASE, 19)	/* arg: handle */
#define DVPI_SYNC_FILE		_IOWR(DVPI_BASE, 20, struct dvpi_sync_file)
#define DVPI_MAP_MORE		_IOWR(DVPI_BASE, 21, struct dvpi_map)
#define DVPI_CYCLE		_IOWR(DVPI_BASE, 22, struct dvpi_cycle)
#define DVPI_POSE		_IOW(DVPI_BASE, 32, struct dvpi_pose)
#define DVPI_TEACH		_IOW(DVPI_BASE, 48, struct dvpi_teach)
#define DVPI_GADGET		_IOW(DVPI_BASE, 56, struct dvpi_gadget)
#define DVPI_FORK		_IOWR(DVPI_BASE, 64, struct dvpi_fork)

#endif /* DVP_IMPORTER_H */
