// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 7.0 renamed dma_buf_move_notify and the importer's callback.
 * symbol: dma_buf_invalidate_mappings form: dma_buf_invalidate_mappings
 */
#include <linux/dma-buf.h>

bool probe(struct dma_buf_attachment *attach);
bool probe(struct dma_buf_attachment *attach)
{
	dma_buf_invalidate_mappings(attach->dmabuf);
	return attach->importer_ops->invalidate_mappings;
}
