// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 5.7 to 6.19.
 * symbol: dma_buf_move_notify one-of: dma_buf_invalidate_mappings
 */
#include <linux/dma-buf.h>

bool probe(struct dma_buf_attachment *attach);
bool probe(struct dma_buf_attachment *attach)
{
	dma_buf_move_notify(attach->dmabuf);
	return attach->importer_ops->move_notify;
}
