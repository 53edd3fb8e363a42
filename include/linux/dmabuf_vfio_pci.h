/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dmabuf-vfio-pci: for other modules. Experimental, see dvp_dma_buf_phys(). The
 * second function is that of the drop-in, the module vfio-pci, for its own
 * buffers.
 */
#ifndef _LINUX_DMABUF_VFIO_PCI_H
#define _LINUX_DMABUF_VFIO_PCI_H

#include <linux/dma-buf.h>
#include <linux/types.h>
#include <uapi/linux/dmabuf_vfio_pci.h>

int dvp_dma_buf_phys(struct dma_buf_attachment *attach, phys_addr_t *phys,
		     size_t *size);
int dvp_dropin_dma_buf_phys(struct dma_buf_attachment *attach,
			    phys_addr_t *phys, size_t *size);

#endif /* _LINUX_DMABUF_VFIO_PCI_H */
