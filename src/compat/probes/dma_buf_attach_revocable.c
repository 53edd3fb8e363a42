// SPDX-License-Identifier: GPL-2.0-only
/*
 * Linux 7.0.
 * symbol: dma_buf_attach_revocable form: dma_buf_attach_revocable
 */
#include <linux/dma-buf.h>

bool probe(struct dma_buf_attachment *attach);
bool probe(struct dma_buf_attachment *attach)
{
	return dma_buf_attach_revocable(attach);
}
