// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registers, runs and reports cases; what cases use to judge and to measure.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define LINE_MAX_LEN	1024
#define AFTER_TIMEOUT	60	/* seconds to bring the system back */
#define HOST_TIMEOUT	30	/* seconds for the host to reply */

enum verdict { VERDICT_NONE, VERDICT_SKIP, VERDICT_FAIL };

/* Shared with the case's processes: the first to fail writes @why. */
static struct {
	int taken;
	int verdict;
	char why[LINE_MAX_LEN];
} *shared;

static struct t_case *cases, **cases_end = &cases;
static const struct t_around *arounds[4];
static int nr_arounds;
static int results = STDOUT_FILENO;
static bool have_host;
/* A kernel that delays, to look for races, what cases wait for */
#define KCSAN			"/sys/kernel/debug/kcsan"

static int kmsg = -1;

void t_register(struct t_case *t)
{
	*cases_end = t;
	cases_end = &t->next;
}

void t_register_around(const struct t_around *around)
{
	if (nr_arounds == ARRAY_SIZE(arounds))
		abort();
	arounds[nr_arounds++] = around;
}

/* --- results */

/* One write for each line: several processes may report at a time. */
static void put_line(const char *line)
{
	char buf[LINE_MAX_LEN];
	size_t len = 0;

	for (; *line && len < sizeof(buf) - 1; line++)
		buf[len++] = *line == '\n' || *line == '\r' ? ' ' : *line;
	while (len && buf[len - 1] == ' ')
		len--;
	buf[len++] = '\n';
	for (size_t done = 0; done < len;) {
		ssize_t n = write(results, buf + done, len - done);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		done += n > 0 ? n : 0;
	}
}

static void __printf(1, 2) report(const char *fmt, ...)
{
	char buf[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	put_line(buf);
}

void t_note(const char *fmt, ...)
{
	char buf[LINE_MAX_LEN] = "# ";
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + 2, sizeof(buf) - 2, fmt, ap);
	va_end(ap);
	put_line(buf);
	errno = err;
}

static void open_results(void)
{
	const char *path = getenv("DVP_RESULTS");
	struct termios tio;

	if (!path)
		return;
	results = open(path, O_RDWR | O_NOCTTY | O_APPEND | O_CLOEXEC);
	if (results < 0) {
		results = STDOUT_FILENO;
		report("# cannot open %s: %s", path, strerror(errno));
		exit(2);
	}
	if (tcgetattr(results, &tio))
		return;
	cfmakeraw(&tio);
	tcsetattr(results, TCSANOW, &tio);
	have_host = true;
}

static bool read_byte(char *c, u64 deadline)
{
	u64 now = t_now_ns();
	struct pollfd p = { .fd = results, .events = POLLIN };

	if (now >= deadline)
		return false;
	return poll(&p, 1, (deadline - now) / 1000000 + 1) == 1 &&
	       read(results, c, 1) == 1;
}

const char *t_host(const char *fmt, ...)
{
	static char buf[LINE_MAX_LEN * 8];
	u64 deadline;
	size_t len = 0;
	va_list ap;

	if (!have_host)
		t_skip("no host listens");
	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	report("host %s", buf);

	deadline = t_now_ns() + HOST_TIMEOUT * 1000000000ull;
	while (read_byte(&buf[len], deadline)) {
		if (buf[len] == '\r')
			continue;
		if (buf[len] != '\n') {
			len += len < sizeof(buf) - 1;
			continue;
		}
		buf[len] = 0;
		if (!strncmp(buf, "reply", 5))
			return buf[5] ? buf + 6 : buf + 5;
		len = 0;
	}
	t_fail("the host does not reply");
}

/* --- verdicts */

static noreturn void
give_verdict(enum verdict verdict, const char *fmt, va_list ap)
{
	if (!__atomic_exchange_n(&shared->taken, 1, __ATOMIC_ACQ_REL)) {
		vsnprintf(shared->why, sizeof(shared->why), fmt, ap);
		__atomic_store_n(&shared->verdict, verdict, __ATOMIC_RELEASE);
	}
	_exit(1);
}

static noreturn void __printf(2, 3)
give(enum verdict verdict, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	give_verdict(verdict, fmt, ap);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void t_fail_at(const char *file, int line, const char *fmt, ...)
{
	char buf[LINE_MAX_LEN];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	give(VERDICT_FAIL, "%s:%d: %s", base_name(file), line, buf);
}

void t_unmet_at(const char *file, int line, const char *cond,
		const char *fmt, ...)
{
	char buf[LINE_MAX_LEN / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	t_fail_at(file, line, "not true: %s%s%s", cond, buf[1] ? ":" : "",
		  buf[1] ? buf : "");
}

void t_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	give_verdict(VERDICT_SKIP, fmt, ap);
}

const char *t_errno_name(int err)
{
	const char *name = err ? strerrorname_np(err) : "0";

	return name ? name : "unknown errno";
}

void t_expect_cmp(const char *file, int line, const char *what,
		  const char *relation, long long have, long long want)
{
	bool holds;

	switch (relation[0]) {
	case '=':
		holds = have == want;
		break;
	case '!':
		holds = have != want;
		break;
	case '>':
		holds = have >= want;
		break;
	default:
		holds = have <= want;
	}
	if (!holds)
		t_fail_at(file, line, "%s is %lld (%#llx), not %s %lld (%#llx)",
			  what, have, have, relation, want, want);
}

long long t_expect_ok(const char *file, int line, const char *what,
		      long long ret)
{
	if (ret < 0)
		t_fail_at(file, line, "%s failed: %s", what,
			  t_errno_name(errno));
	return ret;
}

void t_expect_errno(const char *file, int line, const char *what,
		    long long ret, int err)
{
	int have = errno;

	if (ret >= 0)
		t_fail_at(file, line, "%s returned %lld, not %s", what, ret,
			  t_errno_name(err));
	if (have != err)
		t_fail_at(file, line, "%s failed with %s, not %s", what,
			  t_errno_name(have), t_errno_name(err));
}

void t_expect_err(const char *file, int line, const char *what,
		  long long ret, int err)
{
	if (ret == -err)
		return;
	if (ret >= 0)
		t_fail_at(file, line, "%s is %lld, not -%s", what, ret,
			  t_errno_name(err));
	t_fail_at(file, line, "%s is -%s, not -%s", what, t_errno_name(-ret),
		  t_errno_name(err));
}

int t_expect_fd(const char *file, int line, const char *what, int fd)
{
	if (fd < 0)
		t_fail_at(file, line, "%s is -%s, not a file descriptor", what,
			  t_errno_name(-fd));
	return fd;
}

/* --- time, processes, small files */

u64 t_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void t_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

pid_t t_fork(void)
{
	return expect_ok(fork());
}

void t_join(pid_t pid)
{
	int status;

	expect_ok(waitpid(pid, &status, 0));
	/* One that has given its verdict needs no second. */
	if (WIFSIGNALED(status))
		t_fail("child %d was killed by SIG%s", pid,
		       sigabbrev_np(WTERMSIG(status)));
	expect(!WEXITSTATUS(status), "child %d exits with %d", pid,
	       WEXITSTATUS(status));
}

static int vopen(int flags, const char *path, va_list ap)
{
	char buf[512];
	int fd;

	vsnprintf(buf, sizeof(buf), path, ap);
	fd = open(buf, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int t_write(const char *text, const char *path, ...)
{
	ssize_t n;
	va_list ap;
	int fd, ret;

	va_start(ap, path);
	fd = vopen(O_WRONLY, path, ap);
	va_end(ap);
	if (fd < 0)
		return fd;
	n = write(fd, text, strlen(text));
	ret = n < 0 ? -errno : 0;
	close(fd);
	return ret;
}

int t_read(char *buf, size_t size, const char *path, ...)
{
	size_t len = 0;
	ssize_t n = 0;
	va_list ap;
	int fd, ret;

	va_start(ap, path);
	fd = vopen(O_RDONLY, path, ap);
	va_end(ap);
	buf[0] = 0;
	if (fd < 0)
		return fd;
	while (len < size - 1) {
		n = read(fd, buf + len, size - 1 - len);
		if (n <= 0)
			break;
		len += n;
	}
	ret = n < 0 ? -errno : 0;
	close(fd);
	if (ret)
		len = 0;
	if (len && buf[len - 1] == '\n')
		len--;
	buf[len] = 0;
	return ret ? ret : (int)len;
}

bool t_exists(const char *path, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, path);
	vsnprintf(buf, sizeof(buf), path, ap);
	va_end(ap);
	return !access(buf, F_OK);
}

/* The line of a file that starts with @key and @sep; what follows, or NULL */
static const char *find_line(const char *text, const char *key, char sep)
{
	size_t len = strlen(key);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (!strncmp(text, key, len) && text[len] == sep)
			return text + len + 1;
	}
	return NULL;
}

const char *t_bench(const char *key)
{
	static char value[128];
	const char *found;
	char buf[4096];

	if (t_read(buf, sizeof(buf), "/etc/bench") < 0)
		return "";
	found = find_line(buf, key, '=');
	snprintf(value, sizeof(value), "%.*s",
		 found ? (int)strcspn(found, "\n") : 0, found ? found : "");
	return value;
}

bool t_bench_is(const char *key, const char *value)
{
	return !strcmp(t_bench(key), value);
}

bool t_kernel_since(unsigned int major, unsigned int minor)
{
	struct utsname name;
	unsigned int a, b;

	expect_ok(uname(&name));
	expect_eq(sscanf(name.release, "%u.%u", &a, &b), 2);
	return a > major || (a == major && b >= minor);
}

bool t_host_forwards(void)
{
	return !t_bench_is("host", "unknown");
}

bool t_debug_kernel(void)
{
	return t_exists("/sys/kernel/debug/kmemleak") ||
	       t_exists(KCSAN);
}

bool t_realtime_kernel(void)
{
	struct utsname name;

	expect_ok(uname(&name));
	return strstr(name.version, "PREEMPT_RT");
}

bool t_huge_kernel(void)
{
	/* PREEMPT_RT has none at all. */
	return t_kernel_since(7, 3) &&
	       t_exists("/sys/kernel/mm/transparent_hugepage");
}

/* --- readings */

int t_fd_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (!dir)
		t_fail("no /proc/self/fd: %s", t_errno_name(errno));
	for (struct dirent *e; (e = readdir(dir));)
		n += e->d_name[0] != '.';
	closedir(dir);
	return n - 1;		/* that of @dir */
}

int t_refcnt(const char *module)
{
	char buf[32], name[64];

	snprintf(name, sizeof(name), "%s", module);
	for (char *c = name; (c = strchr(c, '-'));)
		*c = '_';
	if (t_read(buf, sizeof(buf), "/sys/module/%s/refcnt", name) < 0)
		return -1;
	return atoi(buf);
}

long t_meminfo(const char *key)
{
	const char *found;
	char buf[8192];

	if (t_read(buf, sizeof(buf), "/proc/meminfo") < 0)
		t_fail("no /proc/meminfo");
	found = find_line(buf, key, ':');
	if (!found)
		t_fail("no %s in /proc/meminfo", key);
	return atol(found);
}

long t_slab_active(const char *cache)
{
	static char buf[1 << 16];
	const char *found;

	if (t_read(buf, sizeof(buf), "/proc/slabinfo") < 0)
		return -1;
	found = find_line(buf, cache, ' ');
	return found ? atol(found) : -1;
}

/* Also those of memory that is charged, kmalloc-cg-*, and random ones */
static bool leaks_show_in(const char *line)
{
	static const char * const caches[] = {
		"kmalloc-", "dentry ", "inode_cache ", "filp ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(caches); i++)
		if (!strncmp(line, caches[i], strlen(caches[i])))
			return true;
	return false;
}

long t_objects(void)
{
	static char buf[1 << 16];
	char *save, *line;
	long sum = 0, active;

	if (t_read(buf, sizeof(buf), "/proc/slabinfo") < 0)
		return -1;
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (leaks_show_in(line) &&
		    sscanf(line, "%*s %ld", &active) == 1)
			sum += active;
	return sum;
}

/*
 * The readings are inexact by what sits in per-CPU lists, and others allocate
 * as well: but a leak shows each time, noise does not.
 */
void t_expect_flat(unsigned int count, void (*fn)(void *arg), void *arg,
		   const char *what)
{
	long before, growth, least = LONG_MAX;

	/* Slow, and kmemleak, which looks for leaks there, needs only one. */
	if (t_debug_kernel()) {
		for (unsigned int i = 0; i < count / 10; i++)
			fn(arg);
		return;
	}

	for (int attempt = 0; attempt < 4; attempt++) {
		before = t_objects();
		for (unsigned int i = 0; i < count; i++)
			fn(arg);
		if (before < 0)
			return;
		t_sleep_ms(20);		/* for what RCU frees */
		growth = t_objects() - before;
		if (growth < least)
			least = growth;
		if (least < count / 2)
			return;
	}
	t_fail("%s: %u times leave at least %ld objects", what, count, least);
}

struct t_res t_res_take(const char *module)
{
	return (struct t_res){
		.fds = t_fd_count(),
		.refcnt = t_refcnt(module),
		.module = module,
	};
}

void t_res_same_at(const char *file, int line, const struct t_res *before)
{
	struct t_res now = t_res_take(before->module);

	if (now.fds != before->fds)
		t_fail_at(file, line, "%d fds open, before there were %d",
			  now.fds, before->fds);
	if (now.refcnt != before->refcnt)
		t_fail_at(file, line, "%s is used %d times, before it was %d",
			  now.module, now.refcnt, before->refcnt);
}

/* --- the kernel's log */

static const char * const complaints[] = {
	"BUG:", "WARNING:", "KASAN",
	"UBSAN:", "INFO: task", "INFO: rcu", "recursive locking",
	"circular locking", "lock order inversion", "inconsistent lock state",
	"suspicious RCU", "Oops", "general protection fault", "refcount_t:",
	"Bad page", "new suspected memory leaks", "DMA-API:",
	": bad pgd ", ": bad p4d ", ": bad pud ", ": bad pmd ",
	"scheduling while atomic", "sleeping function called",
	"slab corruption", "Object padding overwritten",
};

#define CUT_HERE	"------------[ cut here ]"

/* Those of scripts/guest --warnings, one a line: the kernel's own. */
static bool is_known(const char *text)
{
	static char buf[8192];
	char *line, *save, *copy;
	bool known = false;
	regex_t re;

	if (!buf[0] && t_read(buf, sizeof(buf), "/etc/warnings") < 0)
		return false;
	copy = strdup(buf);
	for (line = strtok_r(copy, "\n", &save); line && !known;
	     line = strtok_r(NULL, "\n", &save)) {
		if (regcomp(&re, line, REG_EXTENDED | REG_NOSUB))
			continue;
		known = !regexec(&re, text, 0, NULL, 0);
		regfree(&re);
	}
	free(copy);
	return known;
}

/* Most races that KCSAN finds are others'; scripts/guest tells them apart. */
static bool is_race(const char *text)
{
	return strstr(text, "BUG: KCSAN:");
}

static bool is_complaint(const char *text)
{
	if (is_race(text))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(complaints); i++)
		if (strstr(text, complaints[i]))
			return !is_known(text);
	return false;
}

/*
 * Reads on to the end of the log. Copies the first complaint to @buf, if any.
 * What is cut off above a warning is judged by the line that follows.
 */
static bool kernel_complains(char *buf, size_t size)
{
	bool found = false, cut = false;
	char record[8192], *text;
	ssize_t n;

	if (kmsg < 0)
		return false;
	for (;;) {
		n = read(kmsg, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)	/* overtaken: the next one */
			continue;
		if (n <= 0)
			return found || cut;
		record[n] = 0;
		text = strchr(record, ';');
		if (!text || found)
			continue;
		if (cut && is_known(text)) {
			cut = false;
			continue;
		}
		if (!cut && strstr(text, CUT_HERE))
			cut = true;
		else if (cut || is_complaint(text))
			found = true;
		if (cut || found)
			snprintf(buf, size, "%.*s",
				 (int)strcspn(text + 1, "\n"), text + 1);
	}
}

bool t_complaint(char *buf, size_t size)
{
	return kernel_complains(buf, size);
}

static void open_kmsg(void)
{
	char buf[16];

	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (kmsg < 0)
		return;
	lseek(kmsg, 0, SEEK_END);
	kernel_complains(buf, sizeof(buf));
}

/* --- running */

/* Where the processes of a group that does not end are, for the reader. */
static void note_stacks(pid_t group)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		int pid = atoi(e->d_name), ppid, pgrp;
		char stat[512], stack[800], state;
		char *paren;

		if (!pid ||
		    t_read(stat, sizeof(stat), "/proc/%d/stat", pid) < 0)
			continue;
		paren = strrchr(stat, ')');
		if (!paren || sscanf(paren + 1, " %c %d %d", &state, &ppid,
				     &pgrp) != 3 || pgrp != group)
			continue;
		t_read(stack, sizeof(stack), "/proc/%d/stack", pid);
		t_note("process %d, state %c: %s", pid, state, stack);
	}
	if (dir)
		closedir(dir);
}

/* Waits up to @seconds for @pid. Its wait status, or -1. */
static int wait_for(pid_t pid, unsigned int seconds)
{
	int fd = syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int status, n;

	do {
		n = poll(&p, 1, seconds * 1000);
	} while (n < 0 && errno == EINTR);
	close(fd);
	if (n != 1 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

/* Kills what is left of a group; orphans of it are ours to reap. */
static bool kill_group(pid_t group)
{
	return t_within(10000, ({
		bool gone = kill(-group, SIGKILL) && errno == ESRCH;

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		gone;
	}));
}

static pid_t start(void (*fn)(void))
{
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (pid < 0) {
		report("# cannot fork: %s", strerror(errno));
		exit(2);
	}
	if (!pid) {
		setpgid(0, 0);
		fn();
		_exit(0);
	}
	setpgid(pid, pid);
	return pid;
}

/*
 * Runs @fn in a process group of its own. False if it failed or skipped, with
 * shared->verdict and shared->why saying so; exits if it cannot be ended.
 */
static bool run_fn(const char *name, void (*fn)(void), unsigned int timeout)
{
	pid_t pid = start(fn);
	bool ended = true;
	char why[128] = "";
	int status;

	status = wait_for(pid, timeout);
	if (status < 0) {
		snprintf(why, sizeof(why), "not done after %u s", timeout);
		note_stacks(pid);
		kill(-pid, SIGKILL);
		status = wait_for(pid, 10);
		ended = status >= 0;
	} else if (WIFSIGNALED(status)) {
		snprintf(why, sizeof(why), "killed by SIG%s",
			 sigabbrev_np(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) && !shared->verdict) {
		snprintf(why, sizeof(why), "exit status %d",
			 WEXITSTATUS(status));
	}
	if (!ended || !kill_group(pid)) {
		note_stacks(pid);
		report("not ok %s: %s; a process cannot be killed", name,
		       shared->why[0] ? shared->why : why);
		report("# giving up");
		exit(1);
	}
	if (!shared->verdict && why[0]) {
		snprintf(shared->why, sizeof(shared->why), "%s", why);
		shared->verdict = VERDICT_FAIL;
	}
	return !shared->verdict;
}

static void run_afters(void)
{
	for (int i = nr_arounds - 1; i >= 0; i--)
		if (arounds[i]->after)
			arounds[i]->after();
}

/* True unless the case fails. */
static bool run(const struct t_case *t, enum verdict *verdict)
{
	char name[128], why[LINE_MAX_LEN], log[256];

	snprintf(name, sizeof(name), "%s/%s", t->suite, t->name);
	for (int i = 0; i < nr_arounds; i++)
		if (arounds[i]->before)
			arounds[i]->before();

	run_fn(name, t->fn, t->timeout * (t_exists(KCSAN) ? 4 : 1));
	*verdict = shared->verdict;
	snprintf(why, sizeof(why), "%s", shared->why);

	if (!run_fn(name, run_afters, AFTER_TIMEOUT) &&
	    *verdict != VERDICT_FAIL) {
		*verdict = VERDICT_FAIL;
		snprintf(why, sizeof(why), "afterwards: %.512s", shared->why);
	}
	if (kernel_complains(log, sizeof(log))) {
		if (*verdict == VERDICT_FAIL)
			report("# kernel log: %s", log);
		else
			snprintf(why, sizeof(why), "kernel log: %s", log);
		*verdict = VERDICT_FAIL;
	}

	switch (*verdict) {
	case VERDICT_NONE:
		report("ok %s", name);
		break;
	case VERDICT_SKIP:
		report("skip %s: %s", name, why);
		break;
	case VERDICT_FAIL:
		report("not ok %s: %s", name, why);
	}
	return *verdict != VERDICT_FAIL;
}

static bool matches(const struct t_case *t, const char *pattern)
{
	char name[128];

	snprintf(name, sizeof(name), "%s/%s", t->suite, t->name);
	return !strcmp(t->suite, pattern) || !fnmatch(pattern, name, 0) ||
	       (strchr(pattern, '/') && strstr(name, pattern));
}

static bool selected(const struct t_case *t, int argc, char **argv)
{
	const char *env = getenv("DVP_TESTS");
	bool yes = argc <= 1;
	char *copy, *save, *p;

	for (int i = 1; i < argc && !yes; i++)
		yes = matches(t, argv[i]);
	if (!yes || !env || !*env)
		return yes;

	yes = false;
	copy = strdup(env);
	for (p = strtok_r(copy, " ,", &save); p && !yes;
	     p = strtok_r(NULL, " ,", &save)) {
		char name[128];

		snprintf(name, sizeof(name), "%s/%s", t->suite, t->name);
		yes = matches(t, p) || strstr(name, p);
	}
	free(copy);
	return yes;
}

int main(int argc, char **argv)
{
	int count[3] = {}, total = 0;
	bool list = argc > 1 && !strcmp(argv[1], "-l");

	if (list) {
		argv++;
		argc--;
	} else {
		open_results();
		open_kmsg();
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		perror("mmap");
		return 2;
	}

	for (struct t_case *t = cases; t; t = t->next) {
		enum verdict verdict;

		if (!selected(t, argc, argv))
			continue;
		total++;
		if (list) {
			printf("%s/%s\n", t->suite, t->name);
			continue;
		}
		run(t, &verdict);
		count[verdict]++;
	}
	if (list)
		return 0;
	if (!total) {
		report("# no such case");
		return 2;
	}
	report("# %d ok, %d failed, %d skipped", count[VERDICT_NONE],
	       count[VERDICT_FAIL], count[VERDICT_SKIP]);
	return count[VERDICT_FAIL] ? 1 : 0;
}
