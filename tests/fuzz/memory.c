// SPDX-License-Identifier: GPL-2.0-only
/* Mappings: made, changed and walked in every way, by whomever. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "fuzz.h"

/*
 * Mappings are where nothing else is put, not even into a hole: what is done to
 * a hole is done to nobody's memory.
 */
#define ARENA		0x100000000000ull
#define SLOT_SIZE	(4 * MIB(16))

static struct fuzz_note notes[FUZZ_SLOTS][FUZZ_SLOT_PAGES];

u8 *fuzz_slot_at(int slot)
{
	return (u8 *)(ARENA + slot * SLOT_SIZE);
}

struct fuzz_note *fuzz_slot_notes(int slot)
{
	return notes[slot];
}

static void forget(int slot, u32 page, u32 nr)
{
	if (page < FUZZ_SLOT_PAGES)
		memset(&notes[slot][page], 0, sizeof(notes[0][0]) *
		       (nr < FUZZ_SLOT_PAGES - page ? nr :
			FUZZ_SLOT_PAGES - page));
}

void fuzz_clear_slot(struct fuzz_me *me, int slot)
{
	munmap(fuzz_slot_at(slot), SLOT_SIZE);
	forget(slot, 0, FUZZ_SLOT_PAGES);
	me->slot_used[slot] = false;
	me->slot_bars[slot] = 0;
}

/* A mapped BAR keeps the function open. */
void fuzz_drop_bars(struct fuzz_me *me, u32 target)
{
	for (int slot = 0; slot < FUZZ_SLOTS; slot++)
		if (me->slot_bars[slot] & 1u << target)
			fuzz_clear_slot(me, slot);
}

int fuzz_free_slot(struct fuzz_me *me)
{
	int slot = me->next_slot++ % FUZZ_SLOTS;

	fuzz_clear_slot(me, slot);
	return slot;
}

static int op_mmap(struct fuzz_me *me, const u32 *a);

int fuzz_pick_slot(struct fuzz_me *me, u32 n)
{
	static const u32 newest[FUZZ_ARGS] = { 1, 0, 0, 1 };
	u32 nr = 0;

	for (int i = 0; i < FUZZ_SLOTS; i++)
		nr += me->slot_used[i];
	/* Better one now than nothing to do */
	if (!nr && !op_mmap(me, newest))
		nr = 1;
	if (!nr)
		return -1;
	n %= nr;
	for (int i = 0; i < FUZZ_SLOTS; i++)
		if (me->slot_used[i] && !n--)
			return i;
	return -1;
}

/* --- accesses */

/* What a page says it is, and that nobody gets at what was taken back */
void fuzz_touch(struct fuzz_me *me, int slot, u32 page, bool write)
{
	const struct fuzz_note *note = &notes[slot][page % FUZZ_SLOT_PAGES];
	u8 *p = fuzz_slot_at(slot) + page % FUZZ_SLOT_PAGES * FUZZ_PAGE;
	bool dead = fuzz_is_dead(note->grant), off = fuzz_is_off(note->grant);
	u32 value = 0;

	if (write) {
		if (!cpu_put(p + FUZZ_CPU_AT, dead ? FUZZ_DEAD : FUZZ_LIVE))
			return;
		if (note->grant && fuzz->grants[note->grant - 1].read_only)
			fuzz_wrong(me, "writes to what it may only read");
	} else {
		if (!cpu_get(p, &value))
			return;
		if (note->word && value != note->word)
			fuzz_wrong(me, "reads %#x, not %#x", value,
				   note->word);
	}
	if (dead)
		fuzz_wrong(me, "reaches what was taken back");
	if (off)
		fuzz_wrong(me, "reaches memory that is off");
}

static int op_touch(struct fuzz_me *me, const u32 *a)
{
	int slot = fuzz_pick_slot(me, a[0]);

	if (slot < 0)
		return -ENODEV;
	fuzz_touch(me, slot, 0, false);
	for (u32 i = 0; i < 1 + a[2] % 8; i++)
		fuzz_touch(me, slot, a[1] * (i + 1), a[3] & 1u << i);
	return 0;
}

/* --- made */

static void note_buf(int slot, u32 at, u32 nr, u32 grant, u32 first)
{
	for (u32 i = 0; i < nr && at + i < FUZZ_SLOT_PAGES; i++) {
		struct fuzz_note *n = &notes[slot][at + i];

		*n = (struct fuzz_note){ .grant = grant };
		if (!grant)
			continue;
		n->word = fuzz_grant_word(&fuzz->grants[grant - 1], first + i);
		n->sure = true;
	}
}

static int map_at(struct fuzz_me *me, struct fuzz_buf *buf, int slot, u32 at,
		  const u32 *a)
{
	const struct fuzz_grant *g = buf->grant ?
		&fuzz->grants[buf->grant - 1] : NULL;
	u32 pages = g ? fuzz_grant_pages(g) : 16, first, nr;
	int prot = a[2] & 1 ? PROT_READ : PROT_READ | PROT_WRITE;
	int flags = MAP_SHARED | MAP_FIXED;
	bool dead = fuzz_is_dead(buf->grant);
	void *p;

	if (a[2] & 2)
		flags |= MAP_POPULATE;
	if ((a[2] & 12) == 12)
		flags |= MAP_LOCKED;
	if (a[2] % 16 == 9)
		flags ^= MAP_SHARED ^ MAP_PRIVATE;
	first = a[3] & 3 ? 0 : a[3] / 4 % pages;
	nr = a[3] & 4 ? 1 + a[3] / 8 % (pages - first) : pages - first;
	if (nr > FUZZ_SLOT_PAGES - at)
		nr = FUZZ_SLOT_PAGES - at;
	p = mmap(fuzz_slot_at(slot) + at * FUZZ_PAGE, (u64)nr * FUZZ_PAGE, prot,
		 flags, buf->fd, (u64)first * FUZZ_PAGE);
	if (p == MAP_FAILED) {
		int ret = -errno;

		/* What was there may be gone. */
		forget(slot, at, nr);
		return ret;
	}
	if (flags & MAP_PRIVATE)
		fuzz_wrong(me, "a private mapping");
	if (dead)
		fuzz_wrong(me, "maps what was taken back");
	if (g && g->read_only && prot & PROT_WRITE)
		fuzz_wrong(me, "maps for writing what it may only read");
	note_buf(slot, at, nr, buf->grant, first);
	return 0;
}

static int op_mmap(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	int slot, ret;

	if (!buf)
		return -ENODEV;
	slot = fuzz_free_slot(me);
	ret = map_at(me, buf, slot, 0, a);
	me->slot_used[slot] = !ret;
	return ret;
}

static int op_mmap_over(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_buf *buf = fuzz_pick_buf(me, a[0]);
	int slot = fuzz_pick_slot(me, a[1]);

	if (!buf || slot < 0)
		return -ENODEV;
	return map_at(me, buf, slot, a[1] % 1024, a);
}

/* --- changed */

/* Some pages of a mapping: all, a few, or on a border of a huge entry */
struct piece {
	int slot;
	u32 at;
	u32 nr;
	u8 *p;
	u64 len;
};

static bool pick(struct fuzz_me *me, const u32 *a, struct piece *piece)
{
	u32 end = FUZZ_SLOT_PAGES;

	piece->slot = fuzz_pick_slot(me, a[0]);
	if (piece->slot < 0)
		return false;
	/* No further than it reaches, or most calls do nothing. */
	while (end > 1 && !notes[piece->slot][end - 1].sure)
		end--;
	switch (a[1] % 4) {
	case 0:
		piece->at = 0;
		piece->nr = end;
		break;
	case 1:
		piece->at = a[1] / 4 % end;
		piece->nr = 1 + a[2] % 16;
		break;
	case 2:
		piece->at = a[1] / 4 % 8 * 512 % end;
		piece->nr = 512 * (1 + a[2] % 2);
		break;
	default:
		piece->at = a[1] / 4 % end;
		piece->nr = 1;
	}
	if (piece->nr > end - piece->at)
		piece->nr = end - piece->at;
	piece->p = fuzz_slot_at(piece->slot) + piece->at * FUZZ_PAGE;
	piece->len = (u64)piece->nr * FUZZ_PAGE;
	return true;
}

static int op_munmap(struct fuzz_me *me, const u32 *a)
{
	struct piece s;

	if (!pick(me, a, &s))
		return -ENODEV;
	if (munmap(s.p, s.len))
		return -errno;
	forget(s.slot, s.at, s.nr);
	return 0;
}

static int op_mprotect(struct fuzz_me *me, const u32 *a)
{
	static const int prots[] = {
		PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_WRITE,
		PROT_READ | PROT_EXEC,
	};
	struct piece s;

	if (!pick(me, a, &s))
		return -ENODEV;
	return mprotect(s.p, s.len, prots[a[3] % 5]) ? -errno : 0;
}

static int op_mremap(struct fuzz_me *me, const u32 *a)
{
	u64 len, old;
	struct piece s;
	int to, ret;
	u8 *p;

	if (!pick(me, a, &s))
		return -ENODEV;
	len = s.len;
	old = s.len;
	if (a[3] % 4 == 0) {
		/* In place: it cannot grow, and may shrink. */
		len = 1 + a[3] / 4 % (2 * s.nr);
		p = mremap(s.p, old, len * FUZZ_PAGE, 0);
		if (p == MAP_FAILED)
			return -errno;
		if (len < s.nr)
			forget(s.slot, s.at + len, s.nr - len);
		return 0;
	}
	to = fuzz_free_slot(me);
	if (to == s.slot)
		return -EBUSY;
	if (a[3] % 4 == 1)
		old = 0;		/* a second one */
	p = mremap(s.p, old, len, MREMAP_MAYMOVE | MREMAP_FIXED |
		   (a[3] % 8 == 6 ? MREMAP_DONTUNMAP : 0),
		   fuzz_slot_at(to) + (a[3] & 8 ? FUZZ_PAGE : 0));
	if (p == MAP_FAILED) {
		ret = -errno;
		return ret;
	}
	me->slot_used[to] = true;
	me->slot_bars[to] = me->slot_bars[s.slot];
	if (!(a[3] & 8))
		memcpy(notes[to], &notes[s.slot][s.at],
		       (s.nr > FUZZ_SLOT_PAGES - s.at ?
			FUZZ_SLOT_PAGES - s.at : s.nr) * sizeof(notes[0][0]));
	if (old && a[3] % 8 != 6)
		forget(s.slot, s.at, s.nr);
	return 0;
}

/* --- walked, by ourselves */

static int op_madvise(struct fuzz_me *me, const u32 *a)
{
	struct piece s;

	/* All there are but two, which are to break memory: 100 and 101 */
	if (!pick(me, a, &s))
		return -ENODEV;
	return madvise(s.p, s.len, a[3] % 8 ? a[3] / 8 % 26 :
		       102 + a[3] / 8 % 3) ? -errno : 0;
}

static int op_lock(struct fuzz_me *me, const u32 *a)
{
	static unsigned char seen[FUZZ_SLOT_PAGES];
	struct piece s;
	int ret;

	if (!pick(me, a, &s))
		return -ENODEV;
	switch (a[3] % 8) {
	case 0:
		ret = mlock(s.p, s.len);
		break;
	case 1:
		ret = munlock(s.p, s.len);
		break;
	case 2:
		ret = mlock2(s.p, s.len, MLOCK_ONFAULT);
		break;
	case 3:
		ret = mincore(s.p, s.len, seen);
		break;
	case 4:
		ret = msync(s.p, s.len, a[2] % 8);
		break;
	case 5:
		ret = remap_file_pages(s.p, s.len, 0, a[2] % 64, 0);
		if (!ret)
			forget(s.slot, s.at, s.nr);
		break;
	case 6:
		ret = mlockall(MCL_CURRENT | (a[2] & 1 ? MCL_ONFAULT : 0));
		break;
	default:
		ret = munlockall();
	}
	return ret ? -errno : 0;
}

static int op_policy(struct fuzz_me *me, const u32 *a)
{
	unsigned long node = 1;
	void *pages[4];
	int status[4], nodes[4] = {};
	struct piece s;
	long ret;

	if (!pick(me, a, &s))
		return -ENODEV;
	switch (a[3] % 3) {
	case 0:
		ret = syscall(SYS_mbind, s.p, s.len, a[2] % 4, &node, 64,
			      a[3] / 4 % 8);
		break;
	case 1:
		for (int i = 0; i < 4; i++)
			pages[i] = s.p + i * FUZZ_PAGE;
		ret = syscall(SYS_move_pages, 0, 4, pages,
			      a[2] & 1 ? nodes : NULL, status, a[2] & 2);
		break;
	default:
		ret = syscall(SYS_migrate_pages, 0, 64, &node, &node);
	}
	return ret < 0 ? -errno : 0;
}

/* Nobody pins it, and nobody else serves its faults. */
static int op_pin(struct fuzz_me *me, const u32 *a)
{
	struct uffdio_register reg = {};
	struct uffdio_api api = { .api = UFFD_API };
	struct iovec iov;
	int fds[2], ret;
	struct piece s;
	bool sure;

	if (!pick(me, a, &s))
		return -ENODEV;
	sure = notes[s.slot][s.at % FUZZ_SLOT_PAGES].sure;
	switch (a[3] % 3) {
	case 0:
		if (pipe(fds))
			return -errno;
		iov = (struct iovec){ s.p, FUZZ_PAGE };
		ret = vmsplice(fds[1], &iov, 1, SPLICE_F_NONBLOCK);
		close(fds[0]);
		close(fds[1]);
		break;
	case 1:
		ret = syscall(SYS_futex, s.p, FUTEX_WAIT, 0, NULL, NULL, 0);
		break;
	default:
		fds[0] = syscall(SYS_userfaultfd, 1 | O_CLOEXEC | O_NONBLOCK);
		reg.range.start = (uintptr_t)s.p;
		reg.range.len = s.len;
		reg.mode = 1 + a[2] % 7;
		ret = ioctl(fds[0], UFFDIO_API, &api) ?:
		      ioctl(fds[0], UFFDIO_REGISTER, &reg);
		close(fds[0]);
	}
	if (ret >= 0 && sure)
		fuzz_wrong(me, "is pinned: way %u", a[3] % 3);
	return ret < 0 ? -errno : ret;
}

/* The kernel reads and writes it for us. */
static int op_copy(struct fuzz_me *me, const u32 *a)
{
	struct fuzz_note *note;
	int fds[2], ret;
	struct piece s;
	bool dead;

	if (!pick(me, a, &s) || pipe(fds))
		return -ENODEV;
	note = &notes[s.slot][s.at % FUZZ_SLOT_PAGES];
	dead = fuzz_is_dead(note->grant);
	ret = write(fds[1], a[3] & 1 ? (u8 *)"abcd" : s.p, 4);
	if (ret == 4 && a[3] & 1)
		ret = read(fds[0], s.p + FUZZ_CPU_AT, 4);
	ret = ret < 0 ? -errno : ret;
	close(fds[0]);
	close(fds[1]);
	if (ret > 0 && dead)
		fuzz_wrong(me, "the kernel reaches what was taken back");
	return ret;
}

static void read_on(int fd)
{
	static char text[1 << 14];

	for (int i = 0; i < 64 && read(fd, text, sizeof(text)) > 0; i++)
		;
}

struct scan {
	u64 size, flags, start, end, walk_end, vec, vec_len, max_pages;
	u64 inverted, mask, anyof, result;
};

static void scan(int fd, const struct piece *s, u64 flags)
{
	static u64 regions[64 * 3];
	struct scan arg = {
		.size = sizeof(arg), .start = (uintptr_t)s->p, .flags = flags,
		.end = (uintptr_t)s->p + s->len, .vec = (uintptr_t)regions,
		.vec_len = 64, .anyof = 0xff, .result = 0xff,
	};

	ioctl(fd, _IOWR('f', 16, struct scan), &arg);
}

/* --- walked, by others: of the same user, or of root's */

static pid_t peer(struct fuzz_me *me, u32 a)
{
	u32 role = a % HOST;

	return a & 1 || role == me->role ? getpid() : (pid_t)fuzz->pids[role];
}

static int op_proc(struct fuzz_me *me, const u32 *a)
{
	static const char * const files[] = {
		"smaps", "smaps_rollup", "numa_maps", "maps", "pagemap",
		"clear_refs", "mem", "fdinfo", "map_files", "pagemap",
	};
	u32 which = a[3] % ARRAY_SIZE(files);
	char path[64], value[2] = { '1' + a[2] % 5 };
	static u64 entries[FUZZ_SLOT_PAGES];
	pid_t pid = peer(me, a[3] / 16);
	struct piece s;
	int fd, ret;

	if (!pick(me, a, &s))
		return -ENODEV;
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, files[which]);
	if (which == 7)
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid,
			 (int)(a[2] % 40));
	if (which == 8)
		snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", pid,
			 (unsigned long)s.p, (unsigned long)(s.p + s.len));
	fd = open(path, (which == 5 ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	switch (which) {
	case 4:
		ret = pread(fd, entries, s.nr * 8, (uintptr_t)s.p /
			    FUZZ_PAGE * 8);
		break;
	case 5:
		ret = write(fd, value, 1);
		break;
	case 6:
		ret = pread(fd, entries, 64, (uintptr_t)s.p);
		if (ret > 0 && pid == getpid() && notes[s.slot][s.at].sure)
			fuzz_wrong(me, "%s reads it", path);
		break;
	case 9:
		scan(fd, &s, a[2] % 4);
		ret = 0;
		break;
	default:
		read_on(fd);
		ret = 0;
	}
	if (ret < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Stopped by a debugger, for as long as this takes */
static int trace(pid_t pid, u8 *p)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		return -errno;
	ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
	if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
		ptrace(PTRACE_PEEKDATA, pid, p, NULL);
		ptrace(PTRACE_POKEDATA, pid, p + FUZZ_CPU_AT,
		       (void *)(uintptr_t)FUZZ_LIVE);
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
	}
	return 0;
}

static int op_remote(struct fuzz_me *me, const u32 *a)
{
	static const int advices[] = {
		MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, 25, MADV_DONTNEED,
	};
	u32 role = me->role == CLIENT ? OTHER : CLIENT;
	struct iovec there, here;
	char bytes[64] = {};
	int pidfd, ret;
	struct piece s;
	pid_t pid;

	pid = fuzz->pids[role];
	if (!pid || !pick(me, a, &s))
		return -ENODEV;
	there = (struct iovec){ s.p, s.len };
	switch (a[3] % 4) {
	case 0:
		pidfd = syscall(SYS_pidfd_open, pid, 0);
		ret = syscall(SYS_process_madvise, pidfd, &there, 1,
			      advices[a[2] % 5], 0);
		ret = ret < 0 ? -errno : 0;
		close(pidfd);
		return ret;
	case 1:
		here = (struct iovec){ bytes, 4 };
		there = (struct iovec){ s.p + FUZZ_CPU_AT, 4 };
		ret = a[2] & 1 ? process_vm_readv(pid, &here, 1, &there, 1, 0) :
		      process_vm_writev(pid, &here, 1, &there, 1, 0);
		return ret < 0 ? -errno : 0;
	default:
		return fuzz->together ? -EBUSY : trace(pid, s.p);
	}
}

/* A child with the same mappings, for a moment or a while */
static int op_fork(struct fuzz_me *me, const u32 *a)
{
	int slot = fuzz_pick_slot(me, a[0]), ready[2];
	u32 ms = fuzz->together ? a[2] % 200 : 0;
	char byte;
	pid_t pid;

	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (slot < 0 || pipe2(ready, O_CLOEXEC))
		return -ENODEV;
	pid = fork();
	if (!pid) {
		fuzz_close_devs(me);
		if (write(ready[1], "", 1) != 1)
			_exit(0);
		fuzz_touch(me, slot, a[1], a[3] & 1);
		if (a[3] & 2)
			munmap(fuzz_slot_at(slot) + FUZZ_PAGE, FUZZ_PAGE);
		t_sleep_ms(ms);
		if (!(a[3] & 2))
			fuzz_touch(me, slot, a[1], a[3] & 4);
		_exit(0);
	}
	if (pid > 0 && read(ready[0], &byte, 1) != 1)
		pid = -1;
	close(ready[0]);
	close(ready[1]);
	if (pid > 0 && !fuzz->together)
		waitpid(pid, NULL, 0);
	return pid > 0 ? 0 : -EAGAIN;
}

static const struct fuzz_op ops[] = {
	FUZZ_OP(mmap, HOLDERS, 40, false),
	FUZZ_OP(mmap_over, HOLDERS, 6, false),
	FUZZ_OP(touch, HOLDERS, 60, false),
	FUZZ_OP(munmap, HOLDERS, 8, false),
	FUZZ_OP(mprotect, HOLDERS, 10, false),
	FUZZ_OP(mremap, HOLDERS, 14, false),
	FUZZ_OP(madvise, HOLDERS, 24, false),
	FUZZ_OP(lock, HOLDERS, 10, false),
	FUZZ_OP(policy, HOLDERS, 6, false),
	FUZZ_OP(pin, HOLDERS, 6, false),
	FUZZ_OP(copy, HOLDERS, 8, false),
	FUZZ_OP(proc, HOLDERS, 16, false),
	FUZZ_OP(remote, CLIENTS, 12, false),
	FUZZ_OP(fork, HOLDERS, 10, false),
};

const struct fuzz_room fuzz_memory = { ops, ARRAY_SIZE(ops) };
