/* SPDX-License-Identifier: MIT */
/*
 * libdmabuf-vfio: exports a PCI function's BARs as dma-bufs, and maps them so
 * that losing the memory does not end the process. See libdmabuf-vfio(3).
 *
 * Functions return a negative errno value when they fail. A handle may be used
 * by one thread at a time; handles are independent of each other.
 */
#ifndef DMABUF_VFIO_H
#define DMABUF_VFIO_H

#include <stddef.h>
#include <stdint.h>
#include <linux/dmabuf_vfio_pci.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DMABUF_VFIO_VERSION_MAJOR	0
#define DMABUF_VFIO_VERSION_MINOR	1

/* A function: by its node, or by a VFIO device descriptor. */
struct dmabuf_vfio;

/* A mapping of a buffer by this process. */
struct dmabuf_vfio_map;

/**
 * dmabuf_vfio_parse_address() - read the address of a PCI function
 * @text: "0000:01:00.0" or "01:00.0"
 * @domain: out
 * @bdf: out, bus << 8 | device << 3 | function
 *
 * Return: 0, or -EINVAL when it is no address.
 */
int dmabuf_vfio_parse_address(const char *text, uint32_t *domain,
			      uint32_t *bdf);

/**
 * dmabuf_vfio_open() - open a function by its node
 * @name: its address, "0000:01:00.0" or "01:00.0", or the path of the node
 * @writable: to export and revoke; otherwise only queries and events work
 * @handle: out, to be given to dmabuf_vfio_close()
 *
 * Return: 0, or -EINVAL (not an address), -ENOENT (no node: not bound to the
 * driver), -EACCES, another error of open(2), or -ENOMEM.
 */
int dmabuf_vfio_open(const char *name, int writable,
		     struct dmabuf_vfio **handle);

/**
 * dmabuf_vfio_from_device() - use a function that this process has open
 * @fd: a VFIO device descriptor; the caller's, and open for as long as @handle
 * @handle: out, to be given to dmabuf_vfio_close()
 *
 * Such a handle exports and revokes. There are no events and no routes, and
 * what the function has is VFIO's to say: those calls return -EOPNOTSUPP.
 *
 * Return: 0, -EBADF or -ENOMEM.
 */
int dmabuf_vfio_from_device(int fd, struct dmabuf_vfio **handle);

/** dmabuf_vfio_close() - give a handle back; buffers and mappings stay */
void dmabuf_vfio_close(struct dmabuf_vfio *handle);

/** dmabuf_vfio_fd() - the descriptor of a handle, to poll and not to close */
int dmabuf_vfio_fd(const struct dmabuf_vfio *handle);

/**
 * dmabuf_vfio_query() - BARs, state and capabilities of the function
 * @handle: by node
 * @info: out
 *
 * Return: 0, or -ENODEV while the function is not open through VFIO.
 */
int dmabuf_vfio_query(struct dmabuf_vfio *handle,
		      struct dmabuf_vfio_info *info);

/**
 * dmabuf_vfio_export_ranges() - export slices of a BAR as a dma-buf
 * @handle: writable
 * @bar: 0 to 5
 * @ranges: bytes, multiples of the page size
 * @nr: how many, at least one
 * @flags: DMABUF_VFIO_MEM_* and DMABUF_VFIO_FLAG_*
 * @open_flags: O_RDWR or O_RDONLY, with O_CLOEXEC
 *
 * Return: the new descriptor, or an error of VFIO_DEVICE_FEATURE_DMA_BUF.
 */
int dmabuf_vfio_export_ranges(struct dmabuf_vfio *handle, unsigned int bar,
			      const struct vfio_region_dma_range *ranges,
			      unsigned int nr, unsigned int flags,
			      int open_flags);

/**
 * dmabuf_vfio_revoke_buffer() - take a buffer back for good
 * @handle: writable
 * @dmabuf: exported from the same function
 *
 * Waits until no device and no process reaches it any more.
 *
 * Return: 0, -EBADFD (it was taken back before), or an error of the request.
 */
int dmabuf_vfio_revoke_buffer(struct dmabuf_vfio *handle, int dmabuf);

/**
 * dmabuf_vfio_find_route() - how a client reaches the function's BARs
 * @handle: by node
 * @client: address of another function
 * @route: out
 *
 * Return: 0, -EINVAL (not an address), -ENOENT (no such client), or -ENODEV
 * while the function is not open.
 */
int dmabuf_vfio_find_route(struct dmabuf_vfio *handle, const char *client,
			   struct dmabuf_vfio_route *route);

/**
 * dmabuf_vfio_next_event() - wait for what happens to the function
 * @handle: by node
 * @event: out
 * @timeout_ms: milliseconds, zero not to wait, negative to wait without end
 *
 * Return: 1 with an event, 0 when the time is over, -ENODEV when the function
 * is unbound or gone and no more will come, -EINTR.
 */
int dmabuf_vfio_next_event(struct dmabuf_vfio *handle,
			   struct dmabuf_vfio_event *event, int timeout_ms);

/**
 * dmabuf_vfio_map_buffer() - map a buffer so that its loss can be survived
 * @dmabuf: the buffer's descriptor; may be closed afterwards
 * @offset: bytes, a multiple of the page size
 * @length: bytes, zero for all that follows
 * @prot: PROT_READ, PROT_WRITE
 * @map: out, to be given to dmabuf_vfio_unmap_buffer()
 *
 * When the memory is taken away, an access finds zeroes in its place, and a
 * write goes nowhere: check dmabuf_vfio_map_lost() after the accesses that
 * matter. The library handles SIGBUS for such addresses and hands any other
 * SIGBUS on to the handler that was there at the first call; a handler that is
 * installed later must do the same.
 *
 * Return: 0, -EINVAL, -ENODEV (it is revoked for good), -ENOMEM, or another
 * error of mmap(2).
 */
int dmabuf_vfio_map_buffer(int dmabuf, uint64_t offset, size_t length, int prot,
			   struct dmabuf_vfio_map **map);

/** dmabuf_vfio_map_address() - where a mapping begins; it stays there */
void *dmabuf_vfio_map_address(const struct dmabuf_vfio_map *map);

/** dmabuf_vfio_map_length() - bytes of a mapping */
size_t dmabuf_vfio_map_length(const struct dmabuf_vfio_map *map);

/** dmabuf_vfio_map_lost() - nonzero once an access has missed the memory */
int dmabuf_vfio_map_lost(const struct dmabuf_vfio_map *map);

/**
 * dmabuf_vfio_map_again() - after a loss: map the memory at the same address
 * @map: that no thread accesses meanwhile
 *
 * For a buffer that was revoked for a while; see DMABUF_VFIO_EVENT_RESTORED.
 *
 * Return: 0, or an error of mmap(2); the mapping stays lost then.
 */
int dmabuf_vfio_map_again(struct dmabuf_vfio_map *map);

/** dmabuf_vfio_unmap_buffer() - give a mapping back */
void dmabuf_vfio_unmap_buffer(struct dmabuf_vfio_map *map);

#ifdef __cplusplus
}
#endif

#endif /* DMABUF_VFIO_H */
