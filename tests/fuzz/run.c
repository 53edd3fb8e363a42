// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs programs, each in processes of its own, and looks at what is left:
 * nothing but the bytes that were there before. From the environment:
 *
 *	DVP_FUZZ_SEED		of the first program; 1 if not said
 *	DVP_FUZZ_SECONDS	how long; 60 if not said
 *	DVP_FUZZ_EPOCH		this one program of the seed alone
 *	DVP_FUZZ_PRINT		each program before it runs
 *	DVP_FUZZ_TRACE		each operation, and what it said
 *	DVP_FUZZ_TIMES		how often fuzz/replay runs a program
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/hotplug.h"
#include "../lib/importer.h"
#include "cpu.h"
#include "fuzz.h"

#define SECONDS		60
#define SECONDS_MAX	7200
#define LEAVE_MS	30000		/* for what is under way to end */
#define UNSTICK_MS	400		/* a callback is stuck for no longer */
#define CORPUS		64
#define REPLAY		"/etc/fuzz"

struct fuzz_target fuzz_targets[NR_TARGETS] = {
	[SHM_SW] = { .role = "shm_sw", .bar = 2, .pages = 256, .first = 256,
		     .memory = true },
	[SHM_MF] = { .role = "shm_mf", .bar = 2, .pages = 512, .first = 128,
		     .memory = true },
	[NVME_MF] = { .role = "nvme_mf", .bar = 2, .pages = 64 },
	[RNG] = { .role = "rng", .bar = 4, .pages = 4, .port = "rp_rng" },
	[BOCHS] = { .role = "bochs", .bar = 0, .pages = 4096, .first = 4096,
		    .memory = true },
	[PF] = { .role = "pf", .bar = 0, .pages = 4 },
	[VF] = { .role = "vf", .bar = 0, .pages = 4 },
};

struct fuzz_shared *fuzz;

static struct fuzz_program program;
static char failed[512];

static struct worker {
	pid_t pid;
	int go[2];
	int done[2];
	int sock[2];
} workers[NR_ROLES];

static u32 setting(const char *name, u32 otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

/* --- what is lent */

struct fuzz_grant *fuzz_new_grant(u32 target)
{
	u32 n = __atomic_fetch_add(&fuzz->nr_grants, 1, __ATOMIC_RELAXED);
	struct fuzz_grant *grant;

	if (n >= FUZZ_GRANTS)
		return NULL;
	grant = &fuzz->grants[n];
	memset(grant, 0, sizeof(*grant));
	grant->target = target;
	grant->tenure = fuzz->tenure[target];
	return grant;
}

void fuzz_kill_tenure(u32 target)
{
	u32 nr = fuzz->nr_grants < FUZZ_GRANTS ? fuzz->nr_grants : FUZZ_GRANTS;

	for (u32 i = 0; i < nr; i++)
		if (fuzz->grants[i].target == target &&
		    fuzz->grants[i].tenure == fuzz->tenure[target])
			__atomic_store_n(&fuzz->grants[i].dead, true,
					 __ATOMIC_SEQ_CST);
}

u32 fuzz_grant_pages(const struct fuzz_grant *grant)
{
	u32 pages = 0;

	for (u32 i = 0; i < grant->nr; i++)
		pages += grant->len[i];
	return pages ?: 1;
}

/* What a page of it must begin with, or 0 */
u32 fuzz_grant_word(const struct fuzz_grant *grant, u32 page)
{
	if (!fuzz_targets[grant->target].memory)
		return 0;
	for (u32 i = 0; i < grant->nr; i++) {
		if (page < grant->len[i])
			return fuzz_word(grant->target, grant->at[i] + page);
		page -= grant->len[i];
	}
	return 0;
}

/* --- a process */

static void start_role(struct fuzz_me *me)
{
	char path[32];

	me->imp = me->role == IMPORTER ? imp_open() : -1;
	for (int i = 0; i < FUZZ_BUFS; i++)
		me->bufs[i].fd = -1;
	for (int i = 0; i < FUZZ_SYNCS; i++)
		me->syncs[i] = -1;
	me->vgem = -1;
	cpu_catch_segv();
	if (!(CLIENTS & 1u << me->role))
		return;
	for (int i = 0; i < 4 && me->vgem < 0; i++) {
		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		me->vgem = open(path, O_RDWR | O_CLOEXEC);
	}
	/* All it has is what others send. */
	expect_ok(setgroups(0, NULL));
	expect_ok(setresgid(65534, 65534, 65534));
	expect_ok(setresuid(65534, 65534, 65534));
	prctl(PR_SET_DUMPABLE, 1);
}

/* The reservation lock is held meanwhile, and others wait for that. */
static void *unstick(void *arg)
{
	struct fuzz_me *me = arg;

	for (;;) {
		t_sleep_ms(UNSTICK_MS);
		for (int i = 0; i < FUZZ_HANDLES; i++)
			if (me->handles[i].on)
				imp_release(me->imp, me->handles[i].handle);
	}
	return NULL;
}

static void do_line(struct fuzz_me *me, u32 i)
{
	const struct fuzz_line *line = &program.lines[i];
	char text[128];
	int ret;

	me->index = i;
	me->op = fuzz_op(line->op);
	fuzz->since[me->role] = t_now_ns();
	__atomic_store_n(&fuzz->now[me->role], i + 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&fuzz->done[line->op], 1, __ATOMIC_RELAXED);
	fuzz_receive(me);
	ret = me->op->fn(me, line->a);
	if (ret >= 0)
		__atomic_add_fetch(&fuzz->good[line->op], 1, __ATOMIC_RELAXED);
	__atomic_store_n(&fuzz->now[me->role], 0, __ATOMIC_SEQ_CST);
	fuzz->next[me->role] = i + 1;
	if (!setting("DVP_FUZZ_TRACE", 0))
		return;
	fuzz_print(&program, i, text, sizeof(text));
	t_note("%3u %s: %s%d", i, text, ret < 0 ? t_errno_name(-ret) : "",
	       ret < 0 ? 0 : ret);
}

static noreturn void work(enum fuzz_role role)
{
	static struct fuzz_me me;
	pthread_t thread;
	u32 i;

	me.role = role;
	for (u32 r = 0; r < NR_ROLES; r++) {
		close(workers[r].go[1]);
		close(workers[r].done[0]);
		me.socks[r] = workers[r].sock[r == role];
		close(workers[r].sock[r != role]);
		if (r == role)
			continue;
		close(workers[r].go[0]);
		close(workers[r].done[1]);
	}
	start_role(&me);
	if (role == IMPORTER)
		expect(!pthread_create(&thread, NULL, unstick, &me));
	if (program.together) {
		for (i = fuzz->next[role]; i < program.nr; i++)
			if (program.lines[i].role == role)
				do_line(&me, i);
		_exit(0);
	}
	while (read(workers[role].go[0], &i, sizeof(i)) == sizeof(i)) {
		do_line(&me, i);
		if (write(workers[role].done[1], &i, sizeof(i)) != sizeof(i))
			break;
	}
	_exit(0);
}

/* --- the judge */

static void print_program(void)
{
	char text[128];

	for (u32 i = 0; i < program.nr; i++) {
		fuzz_print(&program, i, text, sizeof(text));
		t_note("op: %s", text);
	}
	if (program.together)
		t_note("op: together");
}

#define fail(fmt, ...)							\
	do {								\
		snprintf(failed, sizeof(failed), fmt, ##__VA_ARGS__);	\
		print_program();					\
		t_fail("%s", failed);					\
	} while (0)

static void note_stacks(void)
{
	char stack[800], path[32];
	struct dirent *e;
	DIR *dir;

	for (u32 r = 0; r < NR_ROLES; r++) {
		snprintf(path, sizeof(path), "/proc/%d/task", workers[r].pid);
		dir = workers[r].pid ? opendir(path) : NULL;
		while (dir && (e = readdir(dir))) {
			if (e->d_name[0] == '.' ||
			    t_read(stack, sizeof(stack), "%s/%s/stack", path,
				   e->d_name) < 0)
				continue;
			t_note("%s, operation %d: %s", r == HOST ? "host" :
			       fuzz->now[r] ? "busy" : "idle",
			       (int)fuzz->now[r] - 1, stack);
		}
		if (dir)
			closedir(dir);
	}
}

/* Far beyond grace: an emulated clock may run ten times too fast. */
static u32 stuck_s(void)
{
	return t_debug_kernel() ? 180 : 60;
}

static void start(u32 role)
{
	fuzz->now[role] = 0;
	workers[role].pid = t_fork();
	if (!workers[role].pid)
		work(role);
	fuzz->pids[role] = workers[role].pid;
}

/* All of it is closed by now, what a child of its own may have kept, too. */
static void buried(u32 role)
{
	for (u32 t = 0; t < NR_TARGETS; t++) {
		if (fuzz->held_by[t] != role + 1)
			continue;
		fuzz_kill_tenure(t);
		fuzz->held_by[t] = 0;
	}
}

static void judge_end(u32 role, int status)
{
	int now = (int)fuzz->now[role] - 1;

	workers[role].pid = 0;
	fuzz->pids[role] = 0;
	buried(role);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return;
	fail("operation %d, %s: ends with %#x", now,
	     now < 0 ? "none" : fuzz_op(program.lines[now].op)->name, status);
}

static int open_config(u32 target)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config",
		 fuzz_targets[target].bdf);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* Turns VFs on once more: the register says that they are. */
static void turn_vfs_on(int pf)
{
	u16 control, nr = 1;
	u32 head = 0, at;

	for (at = PCI_CFG_SPACE_SIZE; at; at = PCI_EXT_CAP_NEXT(head)) {
		if (pread(pf, &head, 4, at) != 4 || head == ~0u)
			return;
		if (PCI_EXT_CAP_ID(head) == PCI_EXT_CAP_ID_SRIOV)
			break;
	}
	if (!at || pread(pf, &control, 2, at + PCI_SRIOV_CTRL) != 2)
		return;
	if (pwrite(pf, &nr, 2, at + PCI_SRIOV_NUM_VF) == 2 &&
	    pwrite(pf, &control, 2, at + PCI_SRIOV_CTRL) == 2)
		return;
	t_note("cannot turn the VF on again");
}

/*
 * QEMU's VFs are gone after a reset of their PF, and the PCI core waits a
 * minute for each that it resets then.
 */
static void revive_vf(void)
{
	u16 command = 0, on = PCI_COMMAND_MEMORY;
	static u64 next;
	int vf, pf;

	if (!fuzz_targets[VF].there || t_now_ns() < next)
		return;
	next = t_now_ns() + 20000000;
	vf = open_config(VF);
	if (vf < 0)
		return;
	/* A VF's vendor is always ones, its command is not. */
	pf = open_config(PF);
	if (pf >= 0 && pread(vf, &command, 2, PCI_COMMAND) == 2 &&
	    command == 0xffff) {
		turn_vfs_on(pf);
		if (pwrite(vf, &on, 2, PCI_COMMAND) != 2)
			t_note("cannot turn the VF's memory on");
	}
	close(pf);
	close(vf);
}

/* Whoever has ended; a worker that was killed has a successor. */
static u32 reap(bool again)
{
	u32 left = 0;
	int status;
	pid_t pid;

	revive_vf();
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (u32 r = 0; r < NR_ROLES; r++) {
			bool killed = WIFSIGNALED(status);
			int now = (int)fuzz->now[r] - 1;

			if (workers[r].pid != pid)
				continue;
			judge_end(r, status);
			if (!again || !killed)
				continue;
			fuzz->next[r] = now + 1;
			start(r);
		}
	}
	for (u32 r = 0; r < NR_ROLES; r++)
		left += workers[r].pid != 0;
	return left;
}

static void stuck(u32 role)
{
	int now = (int)fuzz->now[role] - 1;

	note_stacks();
	fail("operation %d, %s: not done after %u s", now,
	     now < 0 ? "the end" : fuzz_op(program.lines[now].op)->name,
	     stuck_s());
}

/* Whenever the gate is open decoding is on. */
static void check_gate(const struct fuzz_target *t, u32 op)
{
	char before[512], after[512];
	u16 command = 0;
	char path[64];
	int fd;

	if (t_read(before, sizeof(before), "%s",
		   vfio_debugfs(t->bdf, "state")) < 0 ||
	    strncmp(before, "reachable: yes", 14))
		return;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", t->bdf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (pread(fd, &command, 2, 4) != 2)
		command = 2;
	close(fd);
	if (command & 2 && command != 0xffff)
		return;
	t_read(after, sizeof(after), "%s", vfio_debugfs(t->bdf, "state"));
	if (!strcmp(before, after))
		fail("operation %u, %s: %s is open, and COMMAND is %#x", op,
		     fuzz_op(program.lines[op].op)->name, t->role, command);
}

static void one_by_one(u32 i)
{
	u32 role = program.lines[i].role, answer;
	u64 end = t_now_ns() + stuck_s() * 1000000000ull;
	struct pollfd p = { .fd = workers[role].done[0], .events = POLLIN };
	pid_t pid = workers[role].pid;

	if (!pid)
		return;
	expect_eq(write(workers[role].go[1], &i, sizeof(i)), sizeof(i));
	while (poll(&p, 1, 20) != 1) {
		reap(true);
		if (workers[role].pid != pid)
			return;
		if (t_now_ns() > end)
			stuck(role);
	}
	expect_eq(read(p.fd, &answer, sizeof(answer)), sizeof(answer));
	/* A VF has no such bit of its own. */
	for (u32 t = 0; t < VF; t++)
		if (fuzz_targets[t].there)
			check_gate(&fuzz_targets[t], i);
}

/* Until all have ended, each in time */
static void wait_for_all(bool again)
{
	u64 end = t_now_ns() + stuck_s() * 1000000000ull;
	u32 seen = 0, sum;

	while (reap(again)) {
		t_sleep_ms(2);
		sum = 0;
		for (u32 r = 0; r < NR_ROLES; r++)
			sum += fuzz->next[r];
		if (sum != seen)
			end = t_now_ns() + stuck_s() * 1000000000ull;
		seen = sum;
		if (t_now_ns() < end)
			continue;
		for (u32 r = 0; r < NR_ROLES; r++)
			if (workers[r].pid)
				stuck(r);
	}
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void run_program(u64 seed)
{
	fuzz->together = program.together;
	fuzz->nr_grants = 0;
	memset(fuzz->off, 0, sizeof(fuzz->off));
	memset(fuzz->next, 0, sizeof(fuzz->next));
	for (u32 r = 0; r < NR_ROLES; r++) {
		struct worker *w = &workers[r];

		expect_ok(pipe2(w->go, O_CLOEXEC));
		expect_ok(pipe2(w->done, O_CLOEXEC));
		expect_ok(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0,
				     w->sock));
	}
	for (u32 r = 0; r < NR_ROLES; r++)
		start(r);
	for (u32 i = 0; i < program.nr && !program.together; i++)
		one_by_one(i);
	/* They end in any order, and here one after the other. */
	for (u32 left = NR_ROLES; left && !program.together; left--) {
		u32 r = fuzz_any(&seed, NR_ROLES);

		while (workers[r].go[1] < 0)
			r = (r + 1) % NR_ROLES;
		shut(&workers[r].go[1]);
		if (t_bench_is("iommu", "on"))
			t_within(stuck_s() * 1000, (reap(false),
						    !workers[r].pid));
	}
	wait_for_all(program.together);
	for (u32 r = 0; r < NR_ROLES; r++) {
		struct worker *w = &workers[r];

		for (int i = 0; i < 2; i++) {
			shut(&w->go[i]);
			shut(&w->done[i]);
			shut(&w->sock[i]);
		}
	}
}

/* --- what is left */

/* What is forgotten when it is unloaded; its tracepoints are on. */
void fuzz_set_module_up(void)
{
	t_write("1", "/sys/kernel/tracing/events/%s/enable", vfio_module());
	t_write("Y", "/sys/module/%s/parameters/enable_sriov", vfio_module());
	vfio_grace(FUZZ_GRACE_MS);
}

static u32 outside(u32 target, u32 page, u32 at)
{
	return fuzz_word(target, page) ^ at * 0x9e3779b9u;
}

static u32 step(const struct fuzz_target *t)
{
	return t->role[0] == 's' ? 4 : 2048;
}

static bool serves(struct fuzz_target *t, struct vfio_dev **dev)
{
	char text[512];

	if (vfio_try_bind(t->bdf, vfio_driver()) ||
	    vfio_try_open_bdf(t->bdf, dev))
		return false;
	vfio_mem_enable(*dev, true);
	if (t == &fuzz_targets[VF] ||
	    (t_read(text, sizeof(text), "%s",
		    vfio_debugfs(t->bdf, "state")) > 0 &&
	     !strncmp(text, "reachable: yes", 14)))
		return true;
	vfio_close(*dev);
	return false;
}

static void fill_memory(u32 target)
{
	struct fuzz_target *t = &fuzz_targets[target];
	struct vfio_dev *dev;
	u64 size;
	u8 *p;

	expect(serves(t, &dev), "%s does not serve", t->role);
	size = vfio_bar_size(dev, t->bar);
	p = vfio_map_bar(dev, t->bar, 0, size);
	for (u64 at = 0; at < size; at += step(t))
		mem_write((u32 *)(p + at),
			  at % FUZZ_PAGE ? outside(target, at / FUZZ_PAGE,
						   at % FUZZ_PAGE) :
			  fuzz_word(target, at / FUZZ_PAGE));
	expect_ok(munmap(p, size));
	vfio_close(dev);
}

static void check_page(u32 target, u32 page, const u8 *p)
{
	const struct fuzz_target *t = &fuzz_targets[target];
	u32 word = mem_read((u32 *)p);

	if (word != fuzz_word(target, page))
		fail("%s: page %u begins with %#x", t->role, page, word);
	if (page >= t->first && page < t->first + t->pages) {
		if (mem_read((u32 *)(p + FUZZ_DEAD_AT)) == FUZZ_DEAD ||
		    mem_read((u32 *)(p + FUZZ_CPU_AT)) == FUZZ_DEAD)
			fail("%s: page %u was written after it was taken back",
			     t->role, page);
		return;
	}
	for (u32 at = step(t); at < FUZZ_PAGE; at += step(t)) {
		word = mem_read((u32 *)(p + at));
		if (word != outside(target, page, at))
			fail("%s: %#x of page %u, which is not lent, is %#x",
			     t->role, at, page, word);
	}
}

static void check_function(u32 target)
{
	struct fuzz_target *t = &fuzz_targets[target];
	struct vfio_dev *dev;
	u64 size;
	u8 *p;

	if (!t_within(LEAVE_MS, serves(t, &dev)))
		fail("%s does not serve any more", t->role);
	if (t->memory) {
		size = vfio_bar_size(dev, t->bar);
		p = vfio_map_bar(dev, t->bar, 0, size);
		for (u64 at = 0; at < size; at += FUZZ_PAGE)
			check_page(target, at / FUZZ_PAGE, p + at);
		expect_ok(munmap(p, size));
	}
	vfio_close(dev);
}

static bool counts(const struct fuzz_target *t)
{
	char text[512];

	return t_read(text, sizeof(text), "%s",
		      vfio_debugfs(t->bdf, "state")) > 0 &&
	       !strstr(text, "buffers: 0\nranges: 0");
}

static void check_counts(void)
{
	static char text[1 << 16];

	if (!t_within(LEAVE_MS, !t_refcnt(vfio_module())))
		fail("%s is used %d times", vfio_module(),
		     t_refcnt(vfio_module()));
	if (!t_within(LEAVE_MS, !t_refcnt(IMPORTER_DRIVER)))
		fail("the importer is used %d times",
		     t_refcnt(IMPORTER_DRIVER));
	for (u32 t = 0; t < NR_TARGETS; t++)
		if (counts(&fuzz_targets[t]))
			fail("%s has buffers left", fuzz_targets[t].role);
	if (t_read(text, sizeof(text),
		   "/sys/kernel/debug/dma_buf/bufinfo") > 0 &&
	    strstr(text, vfio_driver()))
		fail("a buffer is left");
}

static void drop_vfs(void)
{
	if (fuzz_targets[PF].there)
		t_write("0", "/sys/bus/pci/devices/%s/sriov_numvfs",
			fuzz_targets[PF].bdf);
}

/* The functions that the program was about: all would take too long */
static bool was_used(u32 target)
{
	for (u32 i = 0; i < program.nr; i++)
		if (fuzz_op(program.lines[i].op)->target &&
		    program.lines[i].a[0] % NR_TARGETS == target)
			return true;
	return false;
}

static void check_all(void)
{
	char log[256];

	if (t_complaint(log, sizeof(log)))
		fail("kernel log: %s", log);
	check_counts();
	drop_vfs();
	if (fuzz->unplugged) {
		if (!t_within(LEAVE_MS, !t_exists("/sys/bus/pci/devices/%s",
						  fuzz_targets[RNG].bdf)))
			fail("the unplugged function is still there");
		hotplug_plug_rng(fuzz_targets[RNG].bdf);
		fuzz->unplugged = false;
	}
	/* Nothing holds the module, now and then it is loaded anew. */
	if (program.nr % 4 == 0) {
		fuzz_read_cover();
		if (vfio_rmmod(vfio_module()))
			fail("the module cannot be unloaded");
		vfio_modprobe(vfio_module());
	}
	fuzz_set_module_up();
	for (u32 t = 0; t < VF; t++)
		if (fuzz_targets[t].there && was_used(t))
			check_function(t);
	if (t_complaint(log, sizeof(log)))
		fail("kernel log: %s", log);
}

/* --- all of it */

static void find_vf(void)
{
	struct vfio_dev *pf = vfio_open_pf();

	strcpy(fuzz_targets[VF].bdf, t_role("vf"));
	fuzz_targets[VF].there = true;
	drop_vfs();
	vfio_close(pf);
}

static void set_up(void)
{
	static const char * const modules[] = { "vgem", "aer_inject" };
	char command[64];

	if (vfio_is_stock())
		t_skip("the stock driver has no buffers for others");
	fuzz = mmap(NULL, sizeof(*fuzz), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(fuzz != MAP_FAILED);
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		snprintf(command, sizeof(command), "modprobe -q %s",
			 modules[i]);
		/* Without it there is less to do. */
		if (system(command))
			t_note("no %s", modules[i]);
	}
	if (system("chmod 666 /dev/dri/card* 2>/dev/null"))
		t_note("no vgem");
	t_write("0", "/proc/sys/kernel/yama/ptrace_scope");
	t_write("1", "/sys/kernel/mm/ksm/run");
	t_write("always", "/sys/kernel/mm/transparent_hugepage/enabled");
	fuzz_set_module_up();
	imp_edu("edu_rp");
	imp_edu("edu_sw");
	for (u32 i = 0; i < VF; i++) {
		struct fuzz_target *t = &fuzz_targets[i];

		t->there = t_has_role(t->role);
		if (!t->there)
			continue;
		strcpy(t->bdf, t_role(t->role));
		vfio_free_group(t->bdf, NULL);
		vfio_bind(t->bdf, vfio_driver());
		if (t->memory)
			fill_memory(i);
	}
	if (fuzz_targets[PF].there)
		find_vf();
}

static void report(u32 epochs)
{
	u32 sum = 0, good = 0, len = 0;
	const struct fuzz_op *op;
	char text[900];

	for (u32 n = 0; (op = fuzz_op(n)); n++) {
		sum += fuzz->done[n];
		good += fuzz->good[n];
		len += snprintf(text + len, sizeof(text) - len, " %s %u/%u",
				op->name, fuzz->good[n], fuzz->done[n]);
		if (len < sizeof(text) - 60)
			continue;
		t_note("%s", text + 1);
		len = 0;
	}
	if (len)
		t_note("%s", text + 1);
	t_note("%u programs, %u operations, %u of them did something", epochs,
	       sum, good);
}

/* A module that was built for it says where in its code it has been. */
void fuzz_read_cover(void)
{
	u8 bytes[4096];
	char path[128];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/coverage",
		 vfio_module());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	len = read(fd, bytes, sizeof(bytes));
	close(fd);
	for (ssize_t i = 0; i < len; i++)
		fuzz->cover[i] |= bytes[i];
}

static u32 covered(void)
{
	u32 bits = 0;

	fuzz_read_cover();
	for (size_t i = 0; i < sizeof(fuzz->cover); i++)
		bits += __builtin_popcount(fuzz->cover[i]);
	return bits;
}

static void print_cover(void)
{
	char text[256];

	for (u32 at = 0; at < sizeof(fuzz->cover); at += 64) {
		u32 any = 0;

		for (u32 i = 0; i < 64; i++) {
			any |= fuzz->cover[at + i];
			sprintf(text + 2 * i, "%02x", fuzz->cover[at + i]);
		}
		if (any)
			t_note("cover: %u %s", at, text);
	}
}

/* The next one: new, or much like one that went where nobody had been */
static void next_program(u64 seed)
{
	static struct fuzz_program corpus[CORPUS];
	static u32 nr, bits;
	u64 rng = seed;
	u32 now = covered();

	if (now > bits && program.nr)
		corpus[nr++ % CORPUS] = program;
	bits = now;
	if (nr && fuzz_any(&rng, 2))
		fuzz_mutate(&program, &corpus[fuzz_any(&rng, nr < CORPUS ? nr :
							CORPUS)], seed);
	else
		fuzz_generate(&program, seed, seed & 1);
}

static u64 host_s(void)
{
	return strtoull(t_host("time"), NULL, 10) / 1000000000;
}

TEST_TIMEOUT(fuzz, run, 10 * SECONDS_MAX)
{
	u32 seed = setting("DVP_FUZZ_SEED", 1);
	u32 only = setting("DVP_FUZZ_EPOCH", ~0u), epoch = 0;
	u32 seconds = setting("DVP_FUZZ_SECONDS", SECONDS);
	u64 end;

	set_up();
	end = host_s() + seconds;
	if (only != ~0u)
		epoch = only;
	do {
		u64 of = (u64)seed << 32 | epoch;

		next_program(of);
		t_note("program %u of seed %u", epoch, seed);
		if (setting("DVP_FUZZ_PRINT", 0))
			print_program();
		run_program(of);
		check_all();
		epoch++;
	} while (only == ~0u && host_s() < end);
	report(epoch);
	if (covered())
		print_cover();
}

/* Programs as text, parted by "--": each some times, until one fails */
TEST_TIMEOUT(fuzz, replay, 10 * SECONDS_MAX)
{
	u32 times = setting("DVP_FUZZ_TIMES", 1), nr = 0;
	FILE *file = fopen(REPLAY, "re");
	char line[160] = "";

	if (!file)
		t_skip("no program in " REPLAY);
	set_up();
	while (!feof(file)) {
		program = (struct fuzz_program){};
		while (fgets(line, sizeof(line), file) &&
		       strncmp(line, "--", 2))
			expect(fuzz_parse(&program, line), "what is '%s'?",
			       line);
		if (!program.nr)
			continue;
		t_note("program %u of the file", nr++);
		for (u32 i = 0; i < times; i++) {
			run_program(i);
			check_all();
		}
	}
	fclose(file);
	report(nr);
}
