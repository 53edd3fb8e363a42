/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * dmabuf-vfio-pci: the public interface.
 *
 * The first part works on the VFIO device fd of a function that is bound to
 * the dmabuf-vfio-pci driver, the second part on the function's own node,
 * /dev/dmabuf-vfio/<domain:bus:device.function>.
 */
#ifndef _UAPI_LINUX_DMABUF_VFIO_PCI_H
#define _UAPI_LINUX_DMABUF_VFIO_PCI_H

#include <linux/ioctl.h>
#include <linux/types.h>
#include <linux/vfio.h>

/* --- on the VFIO device fd */

/*
 * VFIO_DEVICE_FEATURE_DMA_BUF and its two structures are part of Linux 6.19
 * and later. They are repeated, with the same names, number and layout, for
 * programs built against an older <linux/vfio.h>.
 */
#ifndef VFIO_DEVICE_FEATURE_DMA_BUF

/**
 * struct vfio_region_dma_range - a slice of a region
 * @offset: bytes from the start of the region, a multiple of the page size
 * @length: bytes, a multiple of the page size, not zero
 */
struct vfio_region_dma_range {
	__u64 offset;
	__u64 length;
};

/**
 * struct vfio_device_feature_dma_buf - export slices of a BAR as a dma-buf
 * @region_index: the BAR, VFIO_PCI_BAR0_REGION_INDEX to
 *	VFIO_PCI_BAR5_REGION_INDEX
 * @open_flags: of the new file descriptor, as for open(2): an access mode,
 *	O_CLOEXEC, and O_NONBLOCK, which a dma-buf ignores
 * @flags: zero upstream; here also DMABUF_VFIO_FLAG_* and one of the
 *	DMABUF_VFIO_MEM_* memory types
 * @nr_ranges: number of entries in @dma_ranges, at least one
 * @dma_ranges: the slices, which become the buffer in the order given
 *
 * Argument of VFIO_DEVICE_FEATURE with VFIO_DEVICE_FEATURE_GET |
 * VFIO_DEVICE_FEATURE_DMA_BUF. With VFIO_DEVICE_FEATURE_PROBE nothing is
 * created.
 *
 * Return: the new file descriptor, or -1 and errno:
 *
 * EINVAL
 *	argsz is too short; @flags or @open_flags has an unknown bit;
 *	@nr_ranges is zero; a slice is empty, not page-aligned or reaches past
 *	the end of the BAR; the BAR is not memory
 * EOVERFLOW
 *	an offset and a length, or all lengths, do not fit in 64 bits
 * ENODEV
 *	@region_index is not a BAR, or the function does not have that BAR, or
 *	another driver has reserved it
 * ENOSPC
 *	the function's limit of exported buffers or ranges is reached, or the
 *	slices are more than twice the BAR
 * EFAULT, EMFILE, ENFILE, ENOMEM
 *	as usual
 *
 * The buffer is dead after the last close of the function; until then every
 * importer is told to let go whenever the function cannot be reached.
 *
 * O_RDONLY in @open_flags holds for devices, too: whatever direction an
 * importer asks for, its IOMMU lets its device read and not write. Where there
 * is no IOMMU to enforce that (the device reaches the BAR by bus address, or
 * untranslated), a map fails with EACCES.
 *
 * Upstream takes two requests that are EINVAL here: an argsz that does not
 * cover @dma_ranges, since memory beyond argsz is not part of the request; and
 * another bit in @open_flags, since the caller would not get what it asks for.
 * With VFIO_DEVICE_FEATURE_PROBE an argsz that covers the header is enough.
 */
struct vfio_device_feature_dma_buf {
	__u32 region_index;
	__u32 open_flags;
	__u32 flags;
	__u32 nr_ranges;
	struct vfio_region_dma_range dma_ranges[];
};

#define VFIO_DEVICE_FEATURE_DMA_BUF 11

#endif /* VFIO_DEVICE_FEATURE_DMA_BUF */

/*
 * Bits of &struct vfio_device_feature_dma_buf.flags.
 *
 * DMABUF_VFIO_FLAG_OWN requests a buffer of this driver where the kernel's own
 * exporter would serve the request: on a function that is bound to iommufd,
 * whose IOMMU_IOAS_MAP_FILE takes only that exporter's buffers. It has no
 * effect elsewhere. Every other bit that is set implies it.
 *
 * DMABUF_VFIO_FLAG_TRANSLATED is for importers that are not trusted to let
 * go: a map that no IOMMU translates is refused (EACCES), since it could not be
 * cut off. A revoke of the buffer then never waits for longer than the grace
 * period.
 *
 * The memory type is how a CPU maps the buffer, as posted for vfio-pci.
 */
#define DMABUF_VFIO_FLAG_TRANSLATED	(1U << 26)
#define DMABUF_VFIO_FLAG_OWN		(1U << 27)
#define DMABUF_VFIO_MEM_MASK		(0xfU << 28)
#define DMABUF_VFIO_MEM_UNCACHED	(0U << 28)
#define DMABUF_VFIO_MEM_WRITE_COMBINING	(1U << 28)

#ifndef VFIO_DEVICE_PCI_DMABUF_REVOKE

/**
 * struct vfio_pci_dmabuf_revoke - take a buffer back for good
 * @argsz: size of this structure
 * @dmabuf_fd: a buffer that was exported from the same function
 *
 * Argument of VFIO_DEVICE_PCI_DMABUF_REVOKE, as posted for vfio-pci. When it
 * returns no device and no CPU has access through this buffer any more, and
 * none will get it again. Other buffers with the same memory stay.
 *
 * Return: 0, or -1 and errno:
 *
 * EINVAL
 *	@argsz is too short, or @dmabuf_fd is not a dma-buf
 * EBADF
 *	@dmabuf_fd is not a file descriptor
 * ENODEV
 *	the buffer is not of this function, or of another exporter
 * EBADFD
 *	the buffer has been taken back before
 * EINTR
 *	the caller is being killed; a device that cannot be cut off may still
 *	have access, and no device or CPU gets new access
 */
struct vfio_pci_dmabuf_revoke {
	__u32 argsz;
	__s32 dmabuf_fd;
};

#define VFIO_DEVICE_PCI_DMABUF_REVOKE	_IO(VFIO_TYPE, VFIO_BASE + 22)

#endif /* VFIO_DEVICE_PCI_DMABUF_REVOKE */

/**
 * struct dmabuf_vfio_feature_revoke - take a buffer back for good
 * @dmabuf_fd: a buffer that was exported from the same function
 *
 * The same as an argument of VFIO_DEVICE_FEATURE with VFIO_DEVICE_FEATURE_SET
 * | DMABUF_VFIO_FEATURE_REVOKE. Linux never settled a number for it; where the
 * kernel's header has VFIO_DEVICE_FEATURE_DMA_BUF_REVOKE, that works too.
 */
struct dmabuf_vfio_feature_revoke {
	__s32 dmabuf_fd;
};

#define DMABUF_VFIO_FEATURE_REVOKE	0xdb01

/**
 * struct dmabuf_vfio_p2p - export a slice of a BAR, as SPDK asks for it
 * @region_index: the BAR
 * @open_flags: as &struct vfio_device_feature_dma_buf.open_flags
 * @offset: bytes from the start of the BAR, a multiple of the page size
 * @reserved: ignored
 * @length: bytes, a multiple of the page size; zero: all that follows @offset
 *
 * Argument of DMABUF_VFIO_P2P on the VFIO device fd: the layout and the number
 * of a private ioctl that a vendor's SPDK environment layer sends. It shares
 * its number with VFIO_DEVICE_PCI_DMABUF_REVOKE; the first word tells which.
 *
 * Return: as for &struct vfio_device_feature_dma_buf; EINVAL if the driver is
 * not the drop-in, since SPDK asks vfio-pci only.
 */
struct dmabuf_vfio_p2p {
	__u32 region_index;
	__u32 open_flags;
	__u32 offset;
	__u32 reserved;
	__u64 length;
};

#define DMABUF_VFIO_P2P			_IO(VFIO_TYPE, VFIO_BASE + 22)

/* --- on the node, /dev/dmabuf-vfio/<domain:bus:device.function> */

/*
 * The node serves a process of the function's owner that has no VFIO fd. It
 * works while the function is open through VFIO: until then, and after that,
 * each ioctl fails with ENODEV. read(2) and poll(2) work at any time.
 *
 * A tenure of the owner lasts from the first open of the function through VFIO
 * to the last close. A descriptor of the node exports and revokes in the tenure
 * that it was opened in. In another one, or if it was opened while the function
 * was closed, these two fail with ESTALE: open the node again. Everything else
 * works in every tenure.
 *
 * Each argument begins with argsz, the size that the caller knows, and flags,
 * to be zero unless said otherwise. A shorter argsz than that of the structure
 * here is EINVAL, as is an unknown flag and a reserved field that is not zero.
 * With a longer argsz the bytes beyond the structure must be zero and at most a
 * page (E2BIG). A request that is not one of these is ENOTTY.
 *
 * A descriptor that is open for reading can query and get events. To export
 * and to revoke it must be open for writing (EACCES).
 */
#define DMABUF_VFIO_TYPE		0xdb
#define DMABUF_VFIO_ABI_VERSION		1

/*
 * Why the memory of a function cannot be reached: bits of
 * &struct dmabuf_vfio_info.reasons and &struct dmabuf_vfio_event.reasons.
 *
 * CLOSED
 *	not open through VFIO
 * CHANGING
 *	an operation of the owner is running that may end in another reason
 * MEMORY_OFF
 *	memory decoding is off
 * D3HOT
 *	the function is not in D0
 * LOW_POWER
 *	the owner let it go to runtime low power
 * RESET
 *	a reset is running
 * ERROR
 *	a PCIe error is being recovered from, or could not be
 * GONE
 *	unplugged
 * SLEEP
 *	the system is being suspended
 * PF
 *	a virtual function whose physical function cannot serve it: it is being
 *	reset, in error, not in D0, suspended with the system, or unplugged
 */
#define DMABUF_VFIO_REASON_CLOSED	(1U << 0)
#define DMABUF_VFIO_REASON_CHANGING	(1U << 1)
#define DMABUF_VFIO_REASON_MEMORY_OFF	(1U << 2)
#define DMABUF_VFIO_REASON_D3HOT	(1U << 3)
#define DMABUF_VFIO_REASON_LOW_POWER	(1U << 4)
#define DMABUF_VFIO_REASON_RESET	(1U << 5)
#define DMABUF_VFIO_REASON_ERROR	(1U << 6)
#define DMABUF_VFIO_REASON_GONE		(1U << 7)
#define DMABUF_VFIO_REASON_SLEEP	(1U << 8)
#define DMABUF_VFIO_REASON_PF		(1U << 9)

/*
 * &struct dmabuf_vfio_info.capabilities: the memory type; huge entries in the
 * page tables of a CPU; one I/O address range for a buffer of many ranges; an
 * exporter of the kernel's own.
 */
#define DMABUF_VFIO_CAP_WRITE_COMBINING	(1U << 0)
#define DMABUF_VFIO_CAP_HUGE		(1U << 1)
#define DMABUF_VFIO_CAP_IOVA		(1U << 2)
#define DMABUF_VFIO_CAP_NATIVE		(1U << 3)

/* &struct dmabuf_vfio_bar.flags; not memory: I/O ports */
#define DMABUF_VFIO_BAR_MEMORY		(1U << 0)
#define DMABUF_VFIO_BAR_64BIT		(1U << 1)
#define DMABUF_VFIO_BAR_PREFETCHABLE	(1U << 2)
#define DMABUF_VFIO_BAR_EXPORTABLE	(1U << 3)

/**
 * struct dmabuf_vfio_bar - a BAR
 * @size: bytes, zero when the function does not have it
 * @flags: DMABUF_VFIO_BAR_*
 * @reserved: zero
 */
struct dmabuf_vfio_bar {
	__u64 size;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct dmabuf_vfio_info - BARs, state and capabilities of a function
 * @argsz: size of this structure
 * @flags: zero
 * @abi_version: out, DMABUF_VFIO_ABI_VERSION of the driver
 * @capabilities: out, DMABUF_VFIO_CAP_*
 * @reasons: out, DMABUF_VFIO_REASON_*; zero when the memory can be reached
 * @nr_buffers: out, buffers exported now
 * @bars: out, BAR 0 to 5
 * @driver_version: out, a string for people: version and revision of the driver
 *
 * Argument of DMABUF_VFIO_INFO.
 */
struct dmabuf_vfio_info {
	__u32 argsz;
	__u32 flags;
	__u32 abi_version;
	__u32 capabilities;
	__u32 reasons;
	__u32 nr_buffers;
	struct dmabuf_vfio_bar bars[6];
	char driver_version[32];
};

#define DMABUF_VFIO_INFO		_IO(DMABUF_VFIO_TYPE, 0)

/**
 * struct dmabuf_vfio_export - export slices of a BAR as a dma-buf
 * @argsz: size of this structure with its ranges
 * @flags: zero
 * @dma_buf: as for VFIO_DEVICE_FEATURE_DMA_BUF, with DMABUF_VFIO_FLAG_OWN
 *	implied
 *
 * Argument of DMABUF_VFIO_EXPORT. Returns the new file descriptor, or -1 and
 * errno as said there.
 */
struct dmabuf_vfio_export {
	__u32 argsz;
	__u32 flags;
	struct vfio_device_feature_dma_buf dma_buf;
};

#define DMABUF_VFIO_EXPORT		_IO(DMABUF_VFIO_TYPE, 1)

/**
 * struct dmabuf_vfio_revoke - take a buffer back for good
 * @argsz: size of this structure
 * @flags: zero
 * @dmabuf_fd: a buffer that was exported from the same function
 * @reserved: zero
 *
 * Argument of DMABUF_VFIO_REVOKE; see &struct vfio_pci_dmabuf_revoke. The
 * function may be closed while it waits.
 */
struct dmabuf_vfio_revoke {
	__u32 argsz;
	__u32 flags;
	__s32 dmabuf_fd;
	__u32 reserved;
};

#define DMABUF_VFIO_REVOKE		_IO(DMABUF_VFIO_TYPE, 2)

/* &struct dmabuf_vfio_route.route: how a client reaches the function's BARs */
#define DMABUF_VFIO_ROUTE_NONE		0	/* not at all */
#define DMABUF_VFIO_ROUTE_BUS		1	/* by bus address */
#define DMABUF_VFIO_ROUTE_HOST		2	/* through the host bridge */

/*
 * &struct dmabuf_vfio_route.reason
 *
 * SWITCH
 *	both are below one switch
 * FORWARDED
 *	the host bridge is known to forward peer traffic
 * REDIRECTED
 *	both are below one switch, but its access control (ACS) sends it up to
 *	such a host bridge
 * NOT_FORWARDED, REDIRECTED_AWAY
 *	as these two, but the host bridge is not known to forward it
 * NO_PATH
 *	the PCI tree is too deep
 */
#define DMABUF_VFIO_WHY_SWITCH		0
#define DMABUF_VFIO_WHY_FORWARDED	1
#define DMABUF_VFIO_WHY_REDIRECTED	2
#define DMABUF_VFIO_WHY_NOT_FORWARDED	3
#define DMABUF_VFIO_WHY_REDIRECTED_AWAY	4
#define DMABUF_VFIO_WHY_NO_PATH		5

/* &struct dmabuf_vfio_route.reads and .writes */
#define DMABUF_VFIO_ACCESS_NO		0
#define DMABUF_VFIO_ACCESS_YES		1
#define DMABUF_VFIO_ACCESS_UNKNOWN	2	/* some host bridges drop it */

/**
 * struct dmabuf_vfio_route - how a client reaches the function's BARs
 * @argsz: size of this structure
 * @flags: zero
 * @client_domain: in, PCI domain of the client
 * @client_bdf: in, bus << 8 | device << 3 | function
 * @route: out, DMABUF_VFIO_ROUTE_*
 * @distance: out, hops between the two, -1 when not known
 * @reason: out, DMABUF_VFIO_WHY_*
 * @reads: out, DMABUF_VFIO_ACCESS_*
 * @writes: out, DMABUF_VFIO_ACCESS_*
 * @reserved: zero
 *
 * Argument of DMABUF_VFIO_ROUTE. ENOENT: the client does not exist.
 */
struct dmabuf_vfio_route {
	__u32 argsz;
	__u32 flags;
	__u32 client_domain;
	__u32 client_bdf;
	__u32 route;
	__s32 distance;
	__u32 reason;
	__u32 reads;
	__u32 writes;
	__u32 reserved;
};

#define DMABUF_VFIO_ROUTE		_IO(DMABUF_VFIO_TYPE, 3)

/*
 * &struct dmabuf_vfio_event.type: nobody gets access any more, and importers
 * are being told to let go; they may map again; last close, so all buffers are
 * dead; first open
 */
#define DMABUF_VFIO_EVENT_REVOKED	1
#define DMABUF_VFIO_EVENT_RESTORED	2
#define DMABUF_VFIO_EVENT_CLOSED	3
#define DMABUF_VFIO_EVENT_OPENED	4

/**
 * struct dmabuf_vfio_event - something happened to a function
 * @seq: number of the event, one more than that of the event before
 * @time_ns: CLOCK_MONOTONIC, nanoseconds
 * @type: DMABUF_VFIO_EVENT_*
 * @reasons: DMABUF_VFIO_REASON_*, why the memory cannot be reached. An
 *	operation of the owner gives CHANGING and the reason that it may end
 *	in. Zero for restored; for opened, too, if it can be reached at once.
 * @lost: events before this one that this reader was too slow for
 * @reserved: zero
 *
 * read(2) on the node returns as many whole events as fit; EINVAL when not
 * one does. A reader sees the events from its open(2) on. read(2) blocks, or
 * fails with EAGAIN, while there is none. POLLIN says that there is one,
 * POLLHUP that the function is unbound or gone and no more will come (read: 0).
 */
struct dmabuf_vfio_event {
	__u64 seq;
	__u64 time_ns;
	__u32 type;
	__u32 reasons;
	__u32 lost;
	__u32 reserved;
};

#endif /* _UAPI_LINUX_DMABUF_VFIO_PCI_H */
