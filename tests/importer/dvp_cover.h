/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef DVP_COVER_H
#define DVP_COVER_H

/* Only the compiler calls it. */
void __sanitizer_cov_trace_pc(void);

#endif /* DVP_COVER_H */
