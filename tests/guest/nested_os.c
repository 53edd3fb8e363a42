// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the machine inside a guest boots from an NVMe (see tests/nested): a boot
 * sector and the program behind it, without a system below. It says what it
 * finds on the first serial port, one line each, and halts:
 *
 *	booted
 *	nvme0 writes to nvme1		the other one's memory (CMB) has it
 *	nvme1 writes to nvme0
 *	done
 *
 * The names are serial numbers. What is written is what the command IDENTIFY
 * gives; the processor reads it from the other function's BAR.
 *
 * Built as one flat file: no section but .text may come before the program.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define SECTORS		16	/* that are loaded behind the first one */
#define STR(x)		#x
#define XSTR(x)		STR(x)

__asm__("	.code16\n"
"	.globl	_start\n"
"_start:	cli\n"
"	cld\n"
"	xorw	%ax, %ax\n"
"	movw	%ax, %ds\n"
"	movw	%ax, %es\n"
"	movw	%ax, %ss\n"
"	movw	$0x7c00, %sp\n"
"	movb	$0x42, %ah\n"		/* extended read; DL has the drive */
"	movw	$packet, %si\n"
"	int	$0x13\n"
"	jc	halt\n"
"	lgdtl	gdtr\n"
"	movl	%cr0, %eax\n"
"	orb	$1, %al\n"
"	movl	%eax, %cr0\n"
"	ljmpl	$8, $flat\n"
"halt:	hlt\n"
"	jmp	halt\n"
"	.balign	8\n"
"packet:	.byte	16, 0, " XSTR(SECTORS) ", 0\n"
"	.word	0x7e00, 0\n"
"	.quad	1\n"
"gdt:	.quad	0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
"gdtr:	.word	. - gdt - 1\n"
"	.long	gdt\n"
"	.code32\n"
"flat:	movw	$16, %ax\n"
"	movw	%ax, %ds\n"
"	movw	%ax, %es\n"
"	movw	%ax, %ss\n"
"	call	program\n"
"1:	hlt\n"
"	jmp	1b\n"
"	.org	510\n"
"	.word	0xaa55\n");

#define PAGE		4096
#define SQ		0x20000u	/* below 640 KiB, and nobody's */
#define CQ		0x21000u
#define IDENTITY	0x22000u	/* a page each */

#define SERIAL		4		/* in what IDENTIFY gives */
#define SERIAL_LEN	20

struct nvme {
	u32 address;
	u32 regs;
	u32 cmb;
	const u8 *identity;
};

static void port_write8(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static void port_write(u16 port, u32 v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static u32 port_read(u16 port)
{
	u32 v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void put(const char *text)
{
	while (*text)
		port_write8(0x3f8, *text++);
}

static void put_serial(const struct nvme *nvme)
{
	const u8 *c = nvme->identity + SERIAL;
	int i;

	for (i = 0; i < SERIAL_LEN && c[i] != ' '; i++)
		port_write8(0x3f8, c[i]);
}

static volatile u32 *mem(u32 address)
{
	return (volatile u32 *)address;
}

static u32 config(u32 address, u8 reg)
{
	port_write(0xcf8, 0x80000000 | address | reg);
	return port_read(0xcfc);
}

/*
 * As drivers do, and all vectors masked. With INTx QEMU takes the BARs out of
 * the machine's memory for a second after each interrupt, and the firmware's
 * NVMe driver masks none.
 */
static void use_msix(u32 address)
{
	u32 cap, head;

	for (cap = config(address, 0x34) & 0xff; cap; cap = head >> 8 & 0xff) {
		head = config(address, cap);
		if ((head & 0xff) == 0x11) {
			port_write(0xcfc, head | 0xc0000000);
			return;
		}
	}
	put("no MSI-X\n");
}

static int find(struct nvme *nvme, int max)
{
	u32 at;
	int n = 0;

	/* Four buses, the first function of each device. */
	for (at = 0; at < 4 << 16 && n < max; at += 8 << 8) {
		if (config(at, 8) >> 8 != 0x010802)
			continue;
		nvme[n].address = at;
		nvme[n].regs = config(at, 0x10) & ~15;
		nvme[n].cmb = config(at, 0x18) & ~15;
		nvme[n].identity = (void *)(IDENTITY + n * PAGE);
		if (config(at, 0x14) || config(at, 0x1c))
			put("a BAR is out of reach\n");
		config(at, 4);
		port_write(0xcfc, 6);		/* memory, bus master */
		use_msix(at);
		n++;
	}
	return n;
}

static int await(volatile u32 *reg, u32 mask, u32 value)
{
	u32 n;

	for (n = 0; n < 1 << 20; n++) {
		if ((*reg & mask) == value)
			return 0;
	}
	return -1;
}

/* Has the controller start anew, and IDENTIFY itself to an address. */
static int identify(const struct nvme *nvme, u32 to)
{
	volatile u32 *regs = mem(nvme->regs), *sq = mem(SQ), *cq = mem(CQ);
	int i;

	regs[0x14 / 4] = 0;
	if (await(&regs[0x1c / 4], 1, 0))
		return -1;
	for (i = 0; i < PAGE / 4; i++) {
		sq[i] = 0;
		cq[i] = 0;
	}
	regs[0x24 / 4] = 7 << 16 | 7;
	regs[0x28 / 4] = SQ;
	regs[0x2c / 4] = 0;
	regs[0x30 / 4] = CQ;
	regs[0x34 / 4] = 0;
	regs[0x14 / 4] = 4 << 20 | 6 << 16 | 1;
	if (await(&regs[0x1c / 4], 1, 1))
		return -1;

	sq[0] = 6;
	sq[6] = to;
	sq[10] = 1;		/* the controller, not a namespace */
	regs[0x1000 / 4] = 1;
	if (await(&cq[3], 1 << 16, 1 << 16))
		return -1;
	return cq[3] >> 17;
}

static int write_to_peer(const struct nvme *nvme, const struct nvme *peer)
{
	const volatile u32 *is = (const u32 *)nvme->identity;
	volatile u32 *cmb = mem(peer->cmb);
	int i;

	/*
	 * CMBMSC: the memory can be reached, also by its own controller at that
	 * address. The address counts: 0 would be the first of the machine's
	 * memory, and what a firmware reads from the disk would end here.
	 */
	mem(peer->regs)[0x54 / 4] = 0;
	mem(peer->regs)[0x50 / 4] = peer->cmb | 3;
	for (i = 0; i < PAGE / 4; i++)
		cmb[i] = ~is[i];
	for (i = 0; i < PAGE / 4; i++) {
		if (cmb[i] != ~is[i])
			return -1;
	}
	if (identify(nvme, peer->cmb))
		return -2;
	for (i = 0; i < PAGE / 4; i++) {
		if (cmb[i] != is[i])
			return -3;
	}
	return 0;
}

__attribute__((used)) static void program(void)
{
	struct nvme nvme[2];
	int i;

	put("booted\n");
	if (find(nvme, 2) != 2) {
		put("not two NVMes\n");
		return;
	}
	for (i = 0; i < 2; i++) {
		if (identify(&nvme[i], (u32)nvme[i].identity))
			put("IDENTIFY failed\n");
	}
	for (i = 0; i < 2; i++) {
		put_serial(&nvme[i]);
		switch (write_to_peer(&nvme[i], &nvme[1 - i])) {
		case 0:
			put(" writes to ");
			break;
		case -1:
			put(" sees no memory of ");
			break;
		case -2:
			put(" fails a write to ");
			break;
		default:
			put(" does not get through to ");
			break;
		}
		put_serial(&nvme[1 - i]);
		put("\n");
	}
	put("done\n");
}
