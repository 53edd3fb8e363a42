/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: a buffer's life, and the transitions of a function.
 *
 * A function is shown by its address, a buffer by the inode of its dma-buf, a
 * client by its device and driver.
 */
#include "dropin.h"

#undef TRACE_SYSTEM
#define TRACE_SYSTEM DVP_TRACE_SYSTEM

#if !defined(DVP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define DVP_TRACE_H

#include <linux/device.h>
#include <linux/pci.h>
#include <linux/tracepoint.h>

#include "dvp.h"
#include "names.h"

#define DVP_TP_BDF_FMT	"%04x:%02x:%02x.%x"
#define DVP_TP_BDF(id)							\
	(u32)((id) >> 16), (u8)((id) >> 8), PCI_SLOT((u8)(id)),		\
	PCI_FUNC((u8)(id))

DECLARE_EVENT_CLASS(dvp_buffer_event,
	TP_PROTO(struct dvp_buffer *buf),
	TP_ARGS(buf),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned long, ino)
		__field(unsigned int, bar)
		__field(u64, size)
		__field(u32, nr_ranges)
	),
	TP_fast_assign(
		__entry->id = buf->provider->path.hop[0].id;
		__entry->ino = buf->inode->i_ino;
		__entry->bar = buf->layout.bar;
		__entry->size = buf->layout.size;
		__entry->nr_ranges = buf->layout.nr_ranges;
	),
	TP_printk(DVP_TP_BDF_FMT " ino=%lu bar=%u size=%llu ranges=%u",
		  DVP_TP_BDF(__entry->id), __entry->ino, __entry->bar,
		  __entry->size, __entry->nr_ranges)
);

DEFINE_EVENT(dvp_buffer_event, dvp_export,
	TP_PROTO(struct dvp_buffer *buf),
	TP_ARGS(buf)
);

DEFINE_EVENT(dvp_buffer_event, dvp_revoke_for_good,
	TP_PROTO(struct dvp_buffer *buf),
	TP_ARGS(buf)
);

DEFINE_EVENT(dvp_buffer_event, dvp_release,
	TP_PROTO(struct dvp_buffer *buf),
	TP_ARGS(buf)
);

TRACE_EVENT(dvp_attach,
	TP_PROTO(struct dvp_buffer *buf, struct device *dev,
		 const struct dvp_route *route),
	TP_ARGS(buf, dev, route),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned long, ino)
		__array(char, client, 32)
		__array(char, driver, 32)
		__field(int, route)
		__field(int, distance)
	),
	TP_fast_assign(
		__entry->id = buf->provider->path.hop[0].id;
		__entry->ino = buf->inode->i_ino;
		strscpy(__entry->client, dev_name(dev), 32);
		strscpy(__entry->driver, dev_driver_string(dev), 32);
		__entry->route = route->kind;
		__entry->distance = route->distance;
	),
	TP_printk(DVP_TP_BDF_FMT " ino=%lu client=%s driver=%s route=%s distance=%d",
		  DVP_TP_BDF(__entry->id), __entry->ino, __entry->client,
		  __entry->driver,
		  __print_symbolic(__entry->route, DVP_ROUTE_NAMES),
		  __entry->distance)
);

TRACE_EVENT(dvp_map,
	TP_PROTO(struct dvp_buffer *buf, struct device *dev,
		 unsigned int nents),
	TP_ARGS(buf, dev, nents),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned long, ino)
		__array(char, client, 32)
		__field(unsigned int, nents)
	),
	TP_fast_assign(
		__entry->id = buf->provider->path.hop[0].id;
		__entry->ino = buf->inode->i_ino;
		strscpy(__entry->client, dev_name(dev), 32);
		__entry->nents = nents;
	),
	TP_printk(DVP_TP_BDF_FMT " ino=%lu client=%s nents=%u",
		  DVP_TP_BDF(__entry->id), __entry->ino, __entry->client,
		  __entry->nents)
);

TRACE_EVENT(dvp_unmap,
	TP_PROTO(struct dvp_buffer *buf, struct device *dev),
	TP_ARGS(buf, dev),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned long, ino)
		__array(char, client, 32)
	),
	TP_fast_assign(
		__entry->id = buf->provider->path.hop[0].id;
		__entry->ino = buf->inode->i_ino;
		strscpy(__entry->client, dev_name(dev), 32);
	),
	TP_printk(DVP_TP_BDF_FMT " ino=%lu client=%s",
		  DVP_TP_BDF(__entry->id), __entry->ino, __entry->client)
);

TRACE_EVENT(dvp_fault,
	TP_PROTO(struct dvp_buffer *buf, u64 offset, unsigned int order,
		 bool filled),
	TP_ARGS(buf, offset, order, filled),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned long, ino)
		__field(u64, offset)
		__field(unsigned int, order)
		__field(bool, filled)
	),
	TP_fast_assign(
		__entry->id = buf->provider->path.hop[0].id;
		__entry->ino = buf->inode->i_ino;
		__entry->offset = offset;
		__entry->order = order;
		__entry->filled = filled;
	),
	TP_printk(DVP_TP_BDF_FMT " ino=%lu offset=%#llx order=%u %s",
		  DVP_TP_BDF(__entry->id), __entry->ino, __entry->offset,
		  __entry->order, __entry->filled ? "filled" : "refused")
);

TRACE_EVENT(dvp_revoke_begin,
	TP_PROTO(struct pci_dev *pdev, u32 reasons,
		 unsigned int buffers),
	TP_ARGS(pdev, reasons, buffers),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, reasons)
		__field(unsigned int, buffers)
	),
	TP_fast_assign(
		__entry->id = dvp_id(pdev);
		__entry->reasons = reasons;
		__entry->buffers = buffers;
	),
	TP_printk(DVP_TP_BDF_FMT " reasons=%s buffers=%u",
		  DVP_TP_BDF(__entry->id),
		  __print_flags(__entry->reasons, "|", DVP_REASON_NAMES),
		  __entry->buffers)
);

TRACE_EVENT(dvp_revoke_end,
	TP_PROTO(struct pci_dev *pdev, u32 reasons, u64 us),
	TP_ARGS(pdev, reasons, us),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(u32, reasons)
		__field(u64, us)
	),
	TP_fast_assign(
		__entry->id = dvp_id(pdev);
		__entry->reasons = reasons;
		__entry->us = us;
	),
	TP_printk(DVP_TP_BDF_FMT " reasons=%s us=%llu",
		  DVP_TP_BDF(__entry->id),
		  __print_flags(__entry->reasons, "|", DVP_REASON_NAMES),
		  __entry->us)
);

TRACE_EVENT(dvp_restore,
	TP_PROTO(struct pci_dev *pdev, unsigned int buffers),
	TP_ARGS(pdev, buffers),
	TP_STRUCT__entry(
		__field(u64, id)
		__field(unsigned int, buffers)
	),
	TP_fast_assign(
		__entry->id = dvp_id(pdev);
		__entry->buffers = buffers;
	),
	TP_printk(DVP_TP_BDF_FMT " buffers=%u", DVP_TP_BDF(__entry->id),
		  __entry->buffers)
);

#endif /* DVP_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
