/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The two modules that these sources make. The variant, dmabuf_vfio_pci, is a
 * driver beside the kernel's vfio-pci. The drop-in (make DROPIN=1) takes its
 * place: it has the name that DPDK and SPDK look for, the parameters that
 * administrators set and a request that SPDK sends, and refuses what vfio-pci
 * refuses.
 */
#ifndef DVP_DROPIN_H
#define DVP_DROPIN_H

#include <linux/compiler_types.h>
#include <linux/errno.h>
#include <linux/types.h>

struct dvp_device;
struct pci_dev;
struct pci_driver;
struct vfio_pci_core_device;

#ifdef DVP_DROPIN

#define DVP_NAME		"vfio-pci"
#define DVP_TRACE_SYSTEM	vfio_pci
#define DVP_NODE_CLASS		"dmabuf-vfio-dropin"

/* Both modules may be loaded, and a symbol has one owner. */
#define dvp_dma_buf_phys	dvp_dropin_dma_buf_phys

int dvp_dropin_may_probe(struct pci_dev *pdev);
void dvp_dropin_init_dev(struct vfio_pci_core_device *core);
int dvp_dropin_p2p(struct dvp_device *dvp, u32 bar, void __user *arg);
void dvp_dropin_init(void);
void dvp_dropin_add_ids(struct pci_driver *driver);

#else

#define DVP_NAME		"dmabuf-vfio-pci"
#define DVP_TRACE_SYSTEM	dmabuf_vfio_pci
#define DVP_NODE_CLASS		"dmabuf-vfio"

static inline int dvp_dropin_may_probe(struct pci_dev *pdev)
{
	return 0;
}

static inline void dvp_dropin_init_dev(struct vfio_pci_core_device *core) {}
static inline int dvp_dropin_p2p(struct dvp_device *dvp, u32 bar,
				 void __user *arg)
{
	return -EINVAL;
}

static inline void dvp_dropin_init(void) {}
static inline void dvp_dropin_add_ids(struct pci_driver *driver) {}

#endif

#endif /* DVP_DROPIN_H */
