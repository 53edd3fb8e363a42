/* SPDX-License-Identifier: GPL-2.0-only */
/* dma-buf: invalidation, who can be revoked, and whose a fence is. */
#ifndef DVP_COMPAT_DMABUF_H
#define DVP_COMPAT_DMABUF_H

#include <linux/dma-buf.h>

#ifndef DVP_HAVE_DMA_BUF_INVALIDATE_MAPPINGS
/*
 * The call and the importer's callback under their former names. Importers
 * hear of a "move" whatever CONFIG_DMABUF_MOVE_NOTIFY says.
 */
#define invalidate_mappings	move_notify

static inline void dma_buf_invalidate_mappings(struct dma_buf *dmabuf)
{
	dma_buf_move_notify(dmabuf);
}
#endif

#ifndef DVP_HAVE_DMA_BUF_ATTACH_REVOCABLE
/*
 * The same test. It lets in the RDMA core's pinned importers too, whose
 * callback only warns: those are refused when they pin.
 */
static inline bool dma_buf_attach_revocable(struct dma_buf_attachment *attach)
{
	return attach->importer_ops &&
	       attach->importer_ops->invalidate_mappings;
}
#endif

#ifndef DVP_HAVE_DMA_FENCE_DRIVER_NAME
/* The same name, from when a fence's ops lived at least as long as it. */
static inline const char __rcu *dma_fence_driver_name(struct dma_fence *fence)
{
	return (const char __force __rcu *)fence->ops->get_driver_name(fence);
}
#endif

/*
 * A pin callback, for kernels where a pin may promise not to be revoked. Where
 * importers say themselves whether they can be revoked though pinned, attach
 * has asked, and a pin asks for nothing more.
 */
#ifdef DVP_HAVE_DMA_BUF_ATTACH_REVOCABLE
#define dma_buf_pin_ptr(_ptr)	PTR_IF(false, (_ptr))
#else
#define dma_buf_pin_ptr(_ptr)	(_ptr)
#endif

/* Does the core itself pin before it maps for a revocable importer? */
static inline bool dma_buf_core_pins_to_map(void)
{
	return !IS_ENABLED(CONFIG_DMABUF_MOVE_NOTIFY);
}

#endif /* DVP_COMPAT_DMABUF_H */
