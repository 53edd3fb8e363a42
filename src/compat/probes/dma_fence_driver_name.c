// SPDX-License-Identifier: GPL-2.0-only
/* Linux 6.17. symbol: dma_fence_driver_name */
#include <linux/dma-fence.h>

const char __rcu *probe(struct dma_fence *fence);
const char __rcu *probe(struct dma_fence *fence)
{
	return dma_fence_driver_name(fence);
}
