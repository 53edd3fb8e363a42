/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What people read for the values of the public header: in debugfs, in the
 * trace, and from the command. Each list is one of { value, name }.
 */
#ifndef DVP_NAMES_H
#define DVP_NAMES_H

#define DVP_REASON_NAMES						\
	{ DMABUF_VFIO_REASON_CLOSED,		"closed" },		\
	{ DMABUF_VFIO_REASON_CHANGING,		"changing" },		\
	{ DMABUF_VFIO_REASON_MEMORY_OFF,	"memory-off" },		\
	{ DMABUF_VFIO_REASON_D3HOT,		"d3hot" },		\
	{ DMABUF_VFIO_REASON_LOW_POWER,		"low-power" },		\
	{ DMABUF_VFIO_REASON_RESET,		"reset" },		\
	{ DMABUF_VFIO_REASON_ERROR,		"error" },		\
	{ DMABUF_VFIO_REASON_GONE,		"gone" },		\
	{ DMABUF_VFIO_REASON_SLEEP,		"sleep" },		\
	{ DMABUF_VFIO_REASON_PF,		"pf" }

#define DVP_CAP_NAMES							\
	{ DMABUF_VFIO_CAP_WRITE_COMBINING,	"write-combining" },	\
	{ DMABUF_VFIO_CAP_HUGE,			"huge" },		\
	{ DMABUF_VFIO_CAP_IOVA,			"iova" },		\
	{ DMABUF_VFIO_CAP_NATIVE,		"native" }

#define DVP_ROUTE_NAMES							\
	{ DMABUF_VFIO_ROUTE_NONE,		"none" },		\
	{ DMABUF_VFIO_ROUTE_BUS,		"bus" },		\
	{ DMABUF_VFIO_ROUTE_HOST,		"host" }

#define DVP_WHY_NAMES							\
	{ DMABUF_VFIO_WHY_SWITCH,		"switch" },		\
	{ DMABUF_VFIO_WHY_FORWARDED,		"forwarded" },		\
	{ DMABUF_VFIO_WHY_REDIRECTED,		"redirected" },		\
	{ DMABUF_VFIO_WHY_NOT_FORWARDED,	"not-forwarded" },	\
	{ DMABUF_VFIO_WHY_REDIRECTED_AWAY,	"redirected-away" },	\
	{ DMABUF_VFIO_WHY_NO_PATH,		"no-path" }

#define DVP_ACCESS_NAMES						\
	{ DMABUF_VFIO_ACCESS_NO,		"no" },			\
	{ DMABUF_VFIO_ACCESS_YES,		"yes" },		\
	{ DMABUF_VFIO_ACCESS_UNKNOWN,		"unknown" }

#define DVP_EVENT_NAMES							\
	{ DMABUF_VFIO_EVENT_REVOKED,		"revoked" },		\
	{ DMABUF_VFIO_EVENT_RESTORED,		"restored" },		\
	{ DMABUF_VFIO_EVENT_CLOSED,		"closed" },		\
	{ DMABUF_VFIO_EVENT_OPENED,		"opened" }

#endif /* DVP_NAMES_H */
