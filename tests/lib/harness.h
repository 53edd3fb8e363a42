/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The test harness: registers cases, runs each in a process of its own under
 * a time limit, and reports one line per case.
 *
 * A case ends well by returning. It ends badly by the first expect() that
 * does not hold, in the case's process or in one it forked; by a signal; by
 * the time limit; or by a complaint of the kernel in its log meanwhile. What
 * it left running is killed, and what it bound is bound back, in all cases.
 */
#ifndef DVP_HARNESS_H
#define DVP_HARNESS_H

#include <errno.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/types.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

#define __printf(fmt, args)						\
	__attribute__((format(printf, fmt,				\
			      args)))

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define KIB(n)			((u64)(n) << 10)
#define MIB(n)			((u64)(n) << 20)
#define GIB(n)			((u64)(n) << 30)

struct t_case {
	const char *suite;
	const char *name;
	void (*fn)(void);
	unsigned int timeout;		/* seconds */
	struct t_case *next;
};

void t_register(struct t_case *t);

#define T_DEFAULT_TIMEOUT	30

/* TEST(suite, name) { ... }: a case, known as suite/name */
#define TEST(suite, name)	TEST_TIMEOUT(suite, name, T_DEFAULT_TIMEOUT)

#define TEST_TIMEOUT(_suite, _name, _seconds)				\
	static void _suite##_##_name(void);				\
	static struct t_case _suite##_##_name##_case = {		\
		.suite = #_suite,					\
		.name = #_name,						\
		.fn = _suite##_##_name,					\
		.timeout = _seconds,					\
	};								\
	__attribute__((constructor))					\
	static void _suite##_##_name##_register(void)			\
	{								\
		t_register(&_suite##_##_name##_case);			\
	}								\
	static void _suite##_##_name(void)

/*
 * The verdict of a case that ends before its end. Neither returns; both work
 * in processes the case forked, too: the first verdict counts.
 */
noreturn void t_fail_at(const char *file, int line, const char *fmt, ...)
	__printf(3, 4);
noreturn void t_skip(const char *fmt, ...)
	__printf(1, 2);

#define t_fail(fmt...)		t_fail_at(__FILE__, __LINE__, fmt)

/* A line of text for the reader of the results. */
void t_note(const char *fmt, ...) __printf(1, 2);

/*
 * Asks the host: "hmp device_del x". Returns its reply, without the word
 * "reply", good until the next call; skips where no host listens.
 */
const char *t_host(const char *fmt, ...) __printf(1, 2);

noreturn void t_unmet_at(const char *file, int line, const char *cond,
			 const char *fmt, ...) __printf(4, 5);

/* expect(cond) or expect(cond, "format", ...): cond holds. */
#define expect(cond, ...)						\
	do {								\
		if (!(cond))						\
			t_unmet_at(__FILE__, __LINE__, #cond,		\
				   " " __VA_ARGS__);			\
	} while (0)

void t_expect_cmp(const char *file, int line, const char *what,
		  const char *relation, long long have, long long want);

/* expect_eq(have, want): two integers; a failure prints both. */
#define expect_eq(have, want)						\
	t_expect_cmp(__FILE__, __LINE__, #have, "==", have, want)
#define expect_ne(have, want)						\
	t_expect_cmp(__FILE__, __LINE__, #have, "!=", have, want)
#define expect_ge(have, want)						\
	t_expect_cmp(__FILE__, __LINE__, #have, ">=", have, want)
#define expect_le(have, want)						\
	t_expect_cmp(__FILE__, __LINE__, #have, "<=", have, want)

long long t_expect_ok(const char *file, int line, const char *what,
		      long long ret);
void t_expect_errno(const char *file, int line, const char *what,
		    long long ret, int err);
void t_expect_err(const char *file, int line, const char *what,
		  long long ret, int err);

/* expect_ok(call): a system call that succeeds; evaluates to its result. */
#define expect_ok(call)							\
	t_expect_ok(__FILE__, __LINE__, #call, (errno = 0, (call)))

/* expect_errno(call, EINVAL): a system call that fails, and how. */
#define expect_errno(call, err)						\
	t_expect_errno(__FILE__, __LINE__, #call, (errno = 0, (call)), err)

/* expect_err(value, EINVAL): the value is -EINVAL. */
#define expect_err(value, err)						\
	t_expect_err(__FILE__, __LINE__, #value, value, err)

/* expect_fd(value): a file descriptor from one of ours, or -errno. */
#define expect_fd(value)						\
	t_expect_fd(__FILE__, __LINE__, #value, value)

int t_expect_fd(const char *file, int line, const char *what, int fd);

/* The symbolic name of an errno, "EINVAL"; "0" for none. */
const char *t_errno_name(int err);

/* Time */
u64 t_now_ns(void);			/* CLOCK_MONOTONIC */
void t_sleep_ms(unsigned int ms);

/* t_within(ms, cond): cond comes true in time, asked every millisecond. */
#define t_within(ms, cond)						\
	({								\
		u64 t_end_ = t_now_ns() + (ms) * 1000000ull;	\
		bool t_true_;						\
									\
		while (!(t_true_ = (cond)) && t_now_ns() < t_end_)	\
			t_sleep_ms(1);					\
		t_true_;						\
	})

/* A child that fails the case when it expects in vain; t_join() waits. */
pid_t t_fork(void);
void t_join(pid_t pid);				/* expects exit status 0 */

/* A descriptor over a UNIX socket. Neither expects; both may fail, errno. */
int t_send_fd(int sock, int fd);
int t_receive_fd(int sock, int flags);	/* of recvmsg(); -1: none came */

/* Small files: sysfs, procfs. A path is a format. */
int t_write(const char *text, const char *path, ...)
	__printf(2, 3);	/* 0 or -errno */
int t_read(char *buf, size_t size, const char *path, ...)
	__printf(3, 4);	/* length or -errno, no \n */
bool t_exists(const char *path, ...) __printf(1, 2);

/* What the bench says of itself in /etc/bench: t_bench("iommu") -> "pt". */
const char *t_bench(const char *key);
bool t_bench_is(const char *key, const char *value);

/* Is the kernel of that version or of a later one? */
bool t_kernel_since(unsigned int major, unsigned int minor);

/* Does the host bridge forward peer traffic, as far as the driver knows? */
bool t_host_forwards(void);

/*
 * A kernel with KASAN and kmemleak: freed objects stay for a while, and the
 * shadow of a mapped BAR takes an eighth of its size. Or one with KCSAN: slow.
 */
bool t_debug_kernel(void);

/* PREEMPT_RT: spinlocks sleep, and interrupt handlers are threads. */
bool t_realtime_kernel(void);

/* Does a BAR get huge entries? Those before 7.3 lose them in some walkers. */
bool t_huge_kernel(void);

/* Readings of the process and of the system */
int t_fd_count(void);				/* of this process */
int t_refcnt(const char *module);		/* -1: not loaded */
long t_meminfo(const char *key);		/* kB: "Slab", "MemFree" */
long t_slab_active(const char *cache);		/* objects, -1: no such cache */
long t_objects(void); /* of the caches that leaks show in */

/*
 * Runs fn(arg) @count times, and again if need be: expects that the kernel has
 * not kept an object for each of them. On a debug kernel kmemleak is to judge.
 */
void t_expect_flat(unsigned int count, void (*fn)(void *arg), void *arg,
		   const char *what);

/* The first complaint of the kernel since the last time it was asked, if any */
bool t_complaint(char *buf, size_t size);

/* What a failed call may leave behind: fds, and a module's use count. */
struct t_res {
	int fds;
	int refcnt;
	const char *module;
};

struct t_res t_res_take(const char *module);
void t_res_same_at(const char *file, int line, const struct t_res *before);

#define t_res_same(before)	t_res_same_at(__FILE__, __LINE__, before)

/*
 * Called by the harness around every case, outside the case's process:
 * before() reads the state of the system, after() brings it back.
 */
struct t_around {
	void (*before)(void);
	void (*after)(void);
};

void t_register_around(const struct t_around *around);

#endif /* DVP_HARNESS_H */
