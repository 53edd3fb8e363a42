// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's own virtio-gpu as an importer: what an owner draws into a BAR is
 * on the card's screen, and is not the card's any more after a revoke.
 *
 * The card of QEMU 7.2 looks an address up when the driver hands it over, and
 * not at each access: after a detach its screen may go on to show what is
 * there. So what the driver and the exporter say counts as access, and for what
 * a device can do with an old address there is the edu (suites dma, late, cut).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu.h"
#include "drm.h"
#include "picture.h"
#include "rig.h"

#define GPU		"gpu"
#define ROLE		"bochs"		/* a graphics card itself: 64 MiB */
#define BAR		0
#define AT		MIB(16)
#define ROOM		(2 * PICTURE_SIZE)

#define PMR_BAR		4
#define PMRCTL		0xe04

#define GRACE_MS	20000	/* more than a card takes on a busy host */
#define HUNG_GRACE_MS	1500

/* Bytes of a BAR with room for two pictures, on the screen of a card */
struct show {
	struct vfio_dev *dev;
	struct drm *drm;
	char bdf[VFIO_BDF_LEN];
	const char *role;
	int bar;
	u64 at;
	u8 *bytes;			/* by the VFIO descriptor */
	int fd;
	u32 handle;
	u32 fb;				/* of the first picture */
};

static void open_bar(struct show *s)
{
	s->dev = vfio_open_exporter(s->role);
	memcpy(s->bdf, s->dev->bdf, sizeof(s->bdf));
	vfio_mem_enable(s->dev, true);
	s->bytes = vfio_map_bar(s->dev, s->bar, s->at, ROOM);
	s->fd = expect_fd(export_range(s->dev, s->bar, s->at, ROOM));
}

static void draw(struct show *s, const struct picture *pic)
{
	memcpy(s->bytes, pic->pixels, PICTURE_SIZE);
}

static void import(struct show *s)
{
	expect_eq(drm_import(s->drm, s->fd, &s->handle), 0);
	expect_eq(drm_add_fb(s->drm, s->handle, 0, &s->fb), 0);
}

/* @pic of a BAR on the screen of the card */
static void show_on(struct show *s, const char *card, const char *role,
		    int bar, u64 at, const struct picture *pic)
{
	*s = (struct show){ .role = role, .bar = bar, .at = at };
	s->drm = drm_open(card, PICTURE_WIDTH, PICTURE_HEIGHT);
	open_bar(s);
	draw(s, pic);
	import(s);
	expect_eq(drm_show(s->drm, s->fb), 0);
	picture_expect(card, pic, NULL);
}

static void show(struct show *s, const struct picture *pic)
{
	show_on(s, GPU, ROLE, BAR, AT, pic);
}

/* debugfs of the card's attachment: "maps=1 cut=0" and more. Static. */
static const char *card_state(const struct show *s)
{
	static char text[8192];
	char *at;

	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(s->bdf, "buffers")), 0);
	for (at = text; (at = strstr(at, "  attachment ")); at++) {
		if (strncmp(at + 13, s->drm->bdf, strlen(s->drm->bdf)))
			continue;
		at[strcspn(at, "\n")] = 0;
		return at;
	}
	return "none";
}

static void expect_attachment_at(const char *file, int line,
				 const struct show *s, const char *what)
{
	const char *have = card_state(s);

	if (!strstr(have, what))
		t_fail_at(file, line, "\"%s\" is not in \"%s\"", what, have);
}

#define expect_attachment(s, what)					\
	expect_attachment_at(__FILE__, __LINE__, s, what)

static void expect_nobody_attached(const char *bdf)
{
	char text[8192];

	expect_ge(t_read(text, sizeof(text), "%s",
			 vfio_debugfs(bdf, "buffers")), 0);
	expect(!strstr(text, "  attachment "), "%s", text);
}

/*
 * What the function tells of the card: a buffer that was taken back for good is
 * forgotten as soon as nobody has access.
 */
#define FORGOTTEN	"none"

/*
 * The card has let go by itself, in the middle of a revoke that is over: it is
 * cut off at the end of the grace period only.
 */
static void expect_let_go(const struct show *s, u64 since_ns, const char *then)
{
	u64 ms = (t_now_ns() - since_ns) / 1000000;

	t_note("revoked in %llu ms, called back in %llu us",
	       (unsigned long long)ms,
	       (unsigned long long)gate_read(s->bdf).last_us);
	expect_le(ms, GRACE_MS / 2);
	expect_attachment(s, then);
}

/* --- a picture */

TEST_TIMEOUT(gpu, import, 120)
{
	struct show s = { .role = ROLE, .bar = BAR, .at = AT };
	u32 again;
	int bar, rdonly;

	s.drm = drm_open(GPU, PICTURE_WIDTH, PICTURE_HEIGHT);
	open_bar(&s);
	import(&s);
	expect_attachment(&s, "driver=virtio-pci route=host");
	expect_attachment(&s, "maps=1 cut=0");
	/* The same buffer is the same object. */
	expect_eq(drm_import(s.drm, s.fd, &again), 0);
	expect_eq(again, s.handle);
	expect_eq(drm_rm_fb(s.drm, s.fb), 0);
	expect_eq(drm_forget(s.drm, s.handle), 0);
	expect_nobody_attached(s.bdf);

	/* All of the BAR, and one that may be read only */
	bar = expect_fd(export_bar(s.dev, BAR));
	expect_eq(drm_import(s.drm, bar, &again), 0);
	expect_eq(drm_forget(s.drm, again), 0);
	rdonly = expect_fd(export_buf(s.dev->fd, BAR, O_RDONLY | O_CLOEXEC, 0,
				      &(struct vfio_region_dma_range){
					      AT, ROOM }, 1));
	if (t_bench_is("iommu", "on")) {
		expect_eq(drm_import(s.drm, rdonly, &again), 0);
		expect_eq(drm_forget(s.drm, again), 0);
	} else {
		expect_err(drm_import(s.drm, rdonly, &again), EACCES);
	}
	expect_nobody_attached(s.bdf);
}

TEST_TIMEOUT(gpu, scanout, 120)
{
	struct show s;

	show(&s, picture_draw(0));
}

/* Of which no address fits into 32 bits */
TEST_TIMEOUT(gpu, scanout_of_a_big_bar, 120)
{
	struct show s;

	show_on(&s, GPU, "big", 2, t_big_size() - MIB(8), picture_draw(1));
}

/* Its persistent memory region: QEMU's card cannot read the other memory. */
TEST_TIMEOUT(gpu, scanout_of_an_nvme, 120)
{
	struct show s = { .role = "nvme_mf", .bar = PMR_BAR };
	struct picture *pic = picture_draw(2);
	u32 on = 1;

	s.drm = drm_open(GPU, PICTURE_WIDTH, PICTURE_HEIGHT);
	open_bar(&s);
	expect_eq(vfio_try_pwrite(s.dev, 0, &on, 4, PMRCTL), 4);
	draw(&s, pic);
	import(&s);
	expect_eq(drm_show(s.drm, s.fb), 0);
	picture_expect(GPU, pic, NULL);
}

TEST_TIMEOUT(gpu, scanout_by_a_vga, 120)
{
	struct show s;

	show_on(&s, "gpu_vga", ROLE, BAR, 0, picture_draw(2));
}

TEST_TIMEOUT(gpu, screen_follows_the_owner, 120)
{
	struct picture *pic = picture_draw(0), *next = picture_draw(3);
	struct picture *dot;
	struct show s;
	u32 second;

	show(&s, pic);

	/* A pixel in the middle of one row */
	dot = picture_draw(0);
	dot->pixels[300 * PICTURE_WIDTH + 500] ^= 0xffffff;
	draw(&s, dot);
	expect_eq(drm_dirty(s.drm, s.fb), 0);
	expect(t_within(20000, picture_shown(GPU, pic) == PICTURE_BANDS - 1));
	draw(&s, pic);
	expect_eq(drm_dirty(s.drm, s.fb), 0);
	picture_expect(GPU, pic, NULL);

	/* The other half of the buffer */
	memcpy(s.bytes + PICTURE_SIZE, next->pixels, PICTURE_SIZE);
	expect_eq(drm_add_fb(s.drm, s.handle, PICTURE_SIZE, &second), 0);
	expect_eq(drm_flip(s.drm, second), 0);
	picture_expect(GPU, next, NULL);
	expect_eq(drm_flip(s.drm, s.fb), 0);
	picture_expect(GPU, pic, NULL);

	/* Another buffer of the same function, by another descriptor */
	s.fd = expect_fd(export_range(s.dev, BAR, AT + PICTURE_SIZE,
				      PICTURE_SIZE));
	import(&s);
	expect_eq(drm_show(s.drm, s.fb), 0);
	picture_expect(GPU, next, NULL);
}

/* The driver of 7.3 lets a framebuffer be larger than what it is made of. */
TEST_TIMEOUT(gpu, nothing_beside_the_buffer_is_shown, 120)
{
	struct picture *pic = picture_draw(0), *beside = picture_fill(0xff00ff);
	struct show s;
	u32 fb;

	show(&s, pic);
	for (u64 at = 0; at < MIB(64); at += PICTURE_SIZE) {
		u64 len = at + PICTURE_SIZE > MIB(64) ? MIB(64) - at :
							PICTURE_SIZE;

		if (at + len <= AT || at >= AT + ROOM)
			expect_eq(vfio_try_pwrite(s.dev, BAR, beside->pixels,
						  len, at), len);
	}
	for (int rows = PICTURE_BAND; rows < PICTURE_HEIGHT; rows *= 4) {
		expect_eq(drm_add_fb(s.drm, s.handle,
				     PICTURE_SIZE + rows * KIB(4), &fb), 0);
		expect_eq(drm_show(s.drm, fb), 0);
		expect_eq(drm_dirty(s.drm, fb), 0);
		expect_eq(picture_shown(GPU, beside), 0);
	}
	expect_eq(drm_show(s.drm, s.fb), 0);
	picture_expect(GPU, pic, NULL);
}

/* --- a revoke while it is on the screen */

static void reset(struct show *s)
{
	expect_ok(ioctl(s->dev->fd, VFIO_DEVICE_RESET));
}

static void host_reset(struct show *s)
{
	expect_eq(t_write("1", "/sys/bus/pci/devices/%s/reset", s->bdf), 0);
}

static void memory_off(struct show *s)
{
	vfio_mem_enable(s->dev, false);
}

static void revoke_and_restore(void (*revoke)(struct show *s))
{
	struct picture *pic = picture_draw(0), *next = picture_draw(4);
	u32 command, guard = 0x12345678, handle;
	unsigned long revokes;
	struct show s;
	u64 start;

	vfio_grace(GRACE_MS);
	show(&s, pic);
	expect_attachment(&s, "maps=1 cut=0");
	expect_eq(vfio_try_pwrite(s.dev, BAR, &guard, 4, AT - 4), 4);
	expect_eq(vfio_try_pwrite(s.dev, BAR, &guard, 4, AT + ROOM), 4);
	revokes = gate_read(s.bdf).revokes;

	start = t_now_ns();
	revoke(&s);
	expect_let_go(&s, start, "maps=0 cut=0");
	expect_ge(gate_read(s.bdf).revokes, revokes + 1);

	/* While it cannot be reached, the card cannot have it back. */
	vfio_mem_enable(s.dev, false);
	gate_expect(s.bdf, "memory-off");
	expect_err(drm_dirty(s.drm, s.fb), ENODEV);
	expect_err(drm_show(s.drm, s.fb), ENODEV);
	expect_eq(drm_import(s.drm, s.fd, &handle), 0);
	expect_eq(handle, s.handle);
	expect_attachment(&s, "maps=0 cut=0");

	vfio_mem_enable(s.dev, true);
	gate_expect(s.bdf, "");
	command = vfio_cfg_read(s.dev, PCI_COMMAND, 2);
	expect(command & PCI_COMMAND_MEMORY);
	expect_attachment(&s, "maps=0 cut=0");
	draw(&s, next);
	/* The driver maps again when it is asked to show something. */
	expect_eq(drm_dirty(s.drm, s.fb), 0);
	expect_attachment(&s, "maps=1 cut=0");
	picture_expect(GPU, next, NULL);
	for (u64 at = AT - 4; at <= AT + ROOM; at += ROOM + 4) {
		expect_eq(vfio_try_pread(s.dev, BAR, &guard, 4, at), 4);
		expect_eq(guard, 0x12345678);
	}

	/* From here on as before */
	draw(&s, pic);
	expect_eq(drm_show(s.drm, s.fb), 0);
	picture_expect(GPU, pic, NULL);
}

TEST_TIMEOUT(gpu, reset, 120)
{
	revoke_and_restore(reset);
}

TEST_TIMEOUT(gpu, reset_by_the_host, 120)
{
	revoke_and_restore(host_reset);
}

TEST_TIMEOUT(gpu, memory_off, 120)
{
	revoke_and_restore(memory_off);
}

/* What a dead buffer is to the card: of no use, and in nobody's way */
static void expect_dead(struct show *s, const struct picture *pic)
{
	u32 handle, dumb, fb;
	u32 *own;

	expect_err(drm_dirty(s->drm, s->fb), ENODEV);
	expect_err(drm_show(s->drm, s->fb), ENODEV);
	/* It has another screenful to show: the screen is not lost. */
	own = drm_dumb(s->drm, &dumb);
	memset(own, 0, PICTURE_SIZE);
	munmap(own, PICTURE_SIZE);
	expect_eq(drm_add_fb(s->drm, dumb, 0, &fb), 0);
	expect_eq(drm_show(s->drm, fb), 0);
	expect_eq(drm_rm_fb(s->drm, s->fb), 0);
	expect_eq(drm_forget(s->drm, s->handle), 0);
	expect(t_within(20000, picture_shown(GPU, pic) < PICTURE_BANDS));
	expect_err(drm_import(s->drm, s->fd, &handle), ENODEV);
}

TEST_TIMEOUT(gpu, revoke_for_good, 120)
{
	struct picture *pic = picture_draw(0);
	struct show s;
	u64 start;

	vfio_grace(GRACE_MS);
	show(&s, pic);
	expect_attachment(&s, "maps=1 cut=0");
	start = t_now_ns();
	expect_eq(vfio_revoke(s.dev->fd, s.fd), 0);
	expect_let_go(&s, start, FORGOTTEN);
	expect_dead(&s, pic);

	/* Another buffer of the same bytes lives. */
	s.fd = expect_fd(export_range(s.dev, BAR, AT, ROOM));
	import(&s);
	expect_eq(drm_show(s.drm, s.fb), 0);
	picture_expect(GPU, pic, NULL);
}

TEST_TIMEOUT(gpu, close, 120)
{
	struct picture *pic = picture_draw(0), *next = picture_draw(5);
	struct t_res before;
	struct show s;
	u64 ms, start;

	vfio_grace(GRACE_MS);
	before = t_res_take(vfio_exporter());
	show(&s, pic);
	munmap(s.bytes, ROOM);
	start = t_now_ns();
	vfio_close(s.dev);
	ms = (t_now_ns() - start) / 1000000;
	t_note("closed in %llu ms", (unsigned long long)ms);
	expect_le(ms, GRACE_MS / 2);
	expect_dead(&s, pic);
	close(s.fd);

	/* The next owner, whose bytes no screen shows before it says so */
	open_bar(&s);
	draw(&s, next);
	expect_eq(picture_shown(GPU, next), 0);
	import(&s);
	expect_eq(drm_show(s.drm, s.fb), 0);
	picture_expect(GPU, next, NULL);

	munmap(s.bytes, ROOM);
	vfio_close(s.dev);
	close(s.fd);
	drm_close(s.drm);
	expect(t_within(20000, t_refcnt(vfio_exporter()) == before.refcnt),
	       "%d, not %d", t_refcnt(vfio_exporter()), before.refcnt);
	t_res_same(&before);
}

/* --- a card that does not answer */

#define VIRTIO_CAP_TYPE		3
#define VIRTIO_CAP_BAR		4
#define VIRTIO_CAP_OFFSET	8
#define VIRTIO_CAP_LENGTH	12
#define VIRTIO_CAP_DATA		16
#define VIRTIO_NOTIFY		2
#define VIRTIO_WINDOW		5	/* registers, by configuration space */

static int card_config(const struct show *s)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config",
		 s->drm->bdf);
	return expect_ok(open(path, O_RDWR));
}

static u32 get(int config, u32 at, size_t size)
{
	u32 value = 0;

	expect_eq(pread(config, &value, size, at), size);
	return value;
}

static void put(int config, u32 at, size_t size, u32 value)
{
	expect_eq(pwrite(config, &value, size, at), size);
}

static u32 virtio_cap(int config, u8 type)
{
	u32 pos = get(config, PCI_CAPABILITY_LIST, 1);

	while (pos && (get(config, pos, 1) != PCI_CAP_ID_VNDR ||
		       get(config, pos + VIRTIO_CAP_TYPE, 1) != type))
		pos = get(config, pos + PCI_CAP_LIST_NEXT, 1);
	expect(pos, "the card has no capability of type %u", type);
	return pos;
}

/* QEMU's devices do not serve their queues with bus mastering off. */
static void card_hangs(const struct show *s)
{
	int config = card_config(s);

	put(config, PCI_COMMAND, 2, get(config, PCI_COMMAND, 2) &
				    ~PCI_COMMAND_MASTER);
	close(config);
}

/* Nor do they look when they are again, before they are notified: queue 0. */
static void card_recovers(const struct show *s)
{
	int config = card_config(s);
	u32 notify = virtio_cap(config, VIRTIO_NOTIFY);
	u32 window = virtio_cap(config, VIRTIO_WINDOW);

	put(config, PCI_COMMAND, 2, get(config, PCI_COMMAND, 2) |
				    PCI_COMMAND_MASTER);
	put(config, window + VIRTIO_CAP_BAR, 1,
	    get(config, notify + VIRTIO_CAP_BAR, 1));
	put(config, window + VIRTIO_CAP_OFFSET, 4,
	    get(config, notify + VIRTIO_CAP_OFFSET, 4));
	put(config, window + VIRTIO_CAP_LENGTH, 4, 2);
	put(config, window + VIRTIO_CAP_DATA, 2, 0);
	close(config);
}

/* As long as nothing translates, the owner waits for the card, as it must. */
static void revoke_waits(struct show *s, void (*revoke)(struct show *s))
{
	pid_t pid = t_fork(), ended;
	const char *then;

	if (!pid) {
		revoke(s);
		_exit(0);
	}
	t_sleep_ms(2 * HUNG_GRACE_MS);
	ended = waitpid(pid, NULL, WNOHANG);
	then = card_state(s);
	card_recovers(s);
	expect_eq(ended, 0);
	expect(strstr(then, "maps=1 cut=0"), "%s", then);
	t_join(pid);
}

static void revoke_cuts(struct show *s, void (*revoke)(struct show *s),
			const char *what)
{
	u64 ms, start = t_now_ns();
	const char *then;

	revoke(s);
	ms = (t_now_ns() - start) / 1000000;
	then = card_state(s);
	/* First of all: nothing that waits for the card can be killed. */
	card_recovers(s);
	t_note("revoked in %llu ms", (unsigned long long)ms);
	expect_ge(ms, HUNG_GRACE_MS * 3 / 4);
	expect_le(ms, GRACE_MS);
	expect(strstr(then, what), "%s", then);
}

/*
 * The driver waits for its card, with the reservation lock, and without a
 * bound. The owner does not, if an IOMMU translates: the card is cut off. Then
 * it comes back, and the driver lets go, late.
 */
static void revoke_hung(void (*revoke)(struct show *s), bool dies)
{
	struct picture *pic = picture_draw(0), *next = picture_draw(6);
	struct show s;

	show(&s, pic);
	expect_attachment(&s, "maps=1 cut=0");
	vfio_grace(HUNG_GRACE_MS);
	card_hangs(&s);
	if (t_bench_is("iommu", "on"))
		revoke_cuts(&s, revoke, dies ? FORGOTTEN : "maps=1 cut=1");
	else
		revoke_waits(&s, revoke);
	vfio_grace(GRACE_MS);
	if (dies) {
		expect_dead(&s, pic);
		expect_nobody_attached(s.bdf);
		return;
	}
	expect(t_within(20000, !drm_dirty(s.drm, s.fb)));
	expect_attachment(&s, "maps=1 cut=0");
	draw(&s, next);
	expect_eq(drm_dirty(s.drm, s.fb), 0);
	picture_expect(GPU, next, NULL);
}

static void reset_and_on(struct show *s)
{
	reset(s);
	vfio_mem_enable(s->dev, true);
}

static void revoke_for_good(struct show *s)
{
	expect_eq(vfio_revoke(s->dev->fd, s->fd), 0);
}

TEST_TIMEOUT(gpu, hung_card_and_a_reset, 120)
{
	revoke_hung(reset_and_on, false);
}

TEST_TIMEOUT(gpu, hung_card_and_a_revoke_for_good, 120)
{
	revoke_hung(revoke_for_good, true);
}

/* --- what is left */

static void be_killed(bool card_first)
{
	struct show s = { .role = ROLE, .bar = BAR, .at = AT };
	struct picture *pic = picture_draw(7);
	struct t_res before = t_res_take(vfio_exporter());
	int pipes[2], status;
	char ready;
	pid_t pid;

	vfio_grace(GRACE_MS);
	expect_ok(pipe(pipes));
	pid = t_fork();
	if (!pid) {
		/* Files are closed in the reverse order of descriptors. */
		if (card_first)
			open_bar(&s);
		s.drm = drm_open(GPU, PICTURE_WIDTH, PICTURE_HEIGHT);
		if (!card_first)
			open_bar(&s);
		draw(&s, pic);
		import(&s);
		expect_eq(drm_show(s.drm, s.fb), 0);
		picture_expect(GPU, pic, NULL);
		expect_eq(write(pipes[1], "", 1), 1);
		pause();
	}
	close(pipes[1]);
	expect_eq(read(pipes[0], &ready, 1), 1);
	close(pipes[0]);
	expect_ok(kill(pid, SIGKILL));
	expect_eq(waitpid(pid, &status, 0), pid);

	expect(t_within(20000, t_refcnt(vfio_exporter()) == before.refcnt),
	       "%s is used %d times", vfio_exporter(),
	       t_refcnt(vfio_exporter()));
	t_res_same(&before);
	expect(t_within(20000, picture_shown(GPU, pic) < PICTURE_BANDS));
	open_bar(&s);
	expect_nobody_attached(s.dev->bdf);
}

TEST_TIMEOUT(gpu, owner_is_killed_card_closes_first, 120)
{
	be_killed(true);
}

TEST_TIMEOUT(gpu, owner_is_killed_bar_closes_first, 120)
{
	be_killed(false);
}

static void import_once(void *arg)
{
	struct show *s = arg;

	expect_eq(drm_import(s->drm, s->fd, &s->handle), 0);
	expect_eq(drm_forget(s->drm, s->handle), 0);
}

TEST_TIMEOUT(gpu, imports_leave_nothing, 400)
{
	struct show s = { .role = ROLE, .bar = BAR, .at = AT };
	u64 start;

	s.drm = drm_open(GPU, PICTURE_WIDTH, PICTURE_HEIGHT);
	open_bar(&s);
	for (int i = 0; i < 100; i++)
		import_once(&s);
	start = t_now_ns();
	t_expect_flat(20000, import_once, &s, "imports");
	t_note("%llu ms", (unsigned long long)(t_now_ns() - start) / 1000000);
	expect_nobody_attached(s.bdf);
}
