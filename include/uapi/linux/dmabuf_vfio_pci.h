/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * dmabuf-vfio-pci: the public interface.
 *
 * Everything here works on the VFIO device fd of a function that is bound to
 * the dmabuf-vfio-pci driver.
 */
#ifndef _UAPI_LINUX_DMABUF_VFIO_PCI_H
#define _UAPI_LINUX_DMABUF_VFIO_PCI_H

#include <linux/types.h>
#include <linux/vfio.h>

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
 * @open_flags: of the new file descriptor, as for open(2): an access mode and
 *	O_CLOEXEC
 * @flags: must be zero
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
 *	@region_index is no BAR, or the function does not have that BAR, or
 *	another driver has reserved it
 * ENOSPC
 *	the function has as many buffers or ranges exported as it may
 * EFAULT, EMFILE, ENFILE, ENOMEM
 *	as usual
 *
 * The buffer dies with the last close of the function; until then every
 * importer is told to let go whenever the function cannot be reached.
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

#endif /* _UAPI_LINUX_DMABUF_VFIO_PCI_H */
