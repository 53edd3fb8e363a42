/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The CPU's side of a mapping: accesses that may end in SIGBUS, and the
 * faults that the driver served.
 */
#ifndef DVP_LIB_CPU_H
#define DVP_LIB_CPU_H

#include "vfio.h"

/* A function with its memory on; skips with the stock driver. */
struct vfio_dev *cpu_open(const char *role);

/* Bytes of a descriptor, to read and write. */
void *cpu_map(int fd, u64 offset, size_t len);

/* Nothing but addresses: @len of them, the first one @at modulo @align */
void *cpu_room(u64 len, u64 align, u64 at);

/* Where the CPU sees a BAR */
u64 cpu_bar_address(const char *bdf, int bar);

/* One access of 32 bits; false: SIGBUS. In any thread. */
bool cpu_get(const void *p, u32 *value);
bool cpu_put(void *p, u32 value);

/* From here on false stands for SIGSEGV, too: what is mapped is not known. */
void cpu_catch_segv(void);

#define expect_bus(p)							\
	do {								\
		u32 value_;						\
									\
		expect(!cpu_get(p, &value_), "%s reads %#x", #p, value_); \
	} while (0)

/* Reads as @want. */
void cpu_expect_at(const char *file, int line, const void *p, u32 want);

#define expect_reads(p, want)	cpu_expect_at(__FILE__, __LINE__, p, want)

/* Faults that the driver served between the two, by its tracepoint. */
void faults_start(void);		/* skips without tracepoints */
unsigned int faults_stop(void);

#endif /* DVP_LIB_CPU_H */
