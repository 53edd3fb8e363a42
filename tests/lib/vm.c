// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define CODE_AT		0x10000		/* guest physical */
#define CODE_LEN	PAGE
#define MEMORY_AT	0x20000
#define NOTHING_AT	0x1000000	/* a write there ends a run */

static int open_kvm(void)
{
	int kvm;

	if (!t_exists("/dev/kvm") && system("modprobe kvm_amd 2>/dev/null"))
		t_skip("this kernel has no KVM, or it cannot run here");
	if (!t_exists("/dev/kvm"))
		t_skip("KVM cannot run here");
	kvm = expect_ok(open("/dev/kvm", O_RDWR | O_CLOEXEC));
	expect_eq(ioctl(kvm, KVM_GET_API_VERSION, 0), KVM_API_VERSION);
	return kvm;
}

static void set_slot(struct vm *vm, u32 slot, u64 at, void *p, size_t len)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = at,
		.memory_size = len,
		.userspace_addr = (uintptr_t)p,
	};

	expect_ok(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region));
}

#ifdef __x86_64__

/* mov [0], ax; hlt */
static const u8 store[] = { 0xa3, 0x00, 0x00, 0xf4 };
/* again: inc word [0]; jmp again */
static const u8 count[] = { 0xff, 0x06, 0x00, 0x00, 0xeb, 0xfa };

/* In real mode, with the memory where DS begins */
static void set_up(struct vm *vm)
{
	struct kvm_sregs sregs;

	expect_ok(ioctl(vm->vcpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = CODE_AT;
	sregs.cs.selector = CODE_AT >> 4;
	sregs.ds.base = MEMORY_AT;
	sregs.ds.selector = MEMORY_AT >> 4;
	expect_ok(ioctl(vm->vcpu, KVM_SET_SREGS, &sregs));
}

static void set_registers(struct vm *vm, u16 value)
{
	struct kvm_regs regs = { .rip = 0, .rflags = 2, .rax = value };

	expect_ok(ioctl(vm->vcpu, KVM_SET_REGS, &regs));
}

static void expect_stored(struct vm *vm)
{
	expect_eq(vm->run->exit_reason, KVM_EXIT_HLT);
}

#endif /* __x86_64__ */

#ifdef __aarch64__

/* strh w0, [x1]; dsb sy; strh w0, [x2] */
static const u32 store[] = { 0x79000020, 0xd5033f9f, 0x79000040 };
/* again: ldrh w0, [x1]; add w0, w0, #1; strh w0, [x1]; b again */
static const u32 count[] = { 0x79400020, 0x11000400, 0x79000020, 0x17fffffd };

static void set_register(struct vm *vm, size_t offset, u64 value)
{
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      offset / sizeof(u32),
		.addr = (uintptr_t)&value,
	};

	expect_ok(ioctl(vm->vcpu, KVM_SET_ONE_REG, &reg));
}

/* At EL1, without translation of its own */
static void set_up(struct vm *vm)
{
	struct kvm_vcpu_init init;

	expect_ok(ioctl(vm->fd, KVM_ARM_PREFERRED_TARGET, &init));
	expect_ok(ioctl(vm->vcpu, KVM_ARM_VCPU_INIT, &init));
}

static void set_registers(struct vm *vm, u16 value)
{
	set_register(vm, offsetof(struct kvm_regs, regs.regs[0]), value);
	set_register(vm, offsetof(struct kvm_regs, regs.regs[1]), MEMORY_AT);
	set_register(vm, offsetof(struct kvm_regs, regs.regs[2]), NOTHING_AT);
	set_register(vm, offsetof(struct kvm_regs, regs.pc), CODE_AT);
}

/* KVM goes on to the next instruction when it is entered again: now. */
static void expect_stored(struct vm *vm)
{
	expect_eq(vm->run->exit_reason, KVM_EXIT_MMIO);
	expect_eq(vm->run->mmio.phys_addr, NOTHING_AT);
	vm->run->immediate_exit = 1;
	expect_errno(ioctl(vm->vcpu, KVM_RUN, 0), EINTR);
	vm->run->immediate_exit = 0;
}

#endif /* __aarch64__ */

void vm_start(struct vm *vm, void *p, size_t len)
{
	int kvm = open_kvm(), size;

	vm->fd = expect_ok(ioctl(kvm, KVM_CREATE_VM, 0));
	vm->code = mmap(NULL, CODE_LEN, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	expect(vm->code != MAP_FAILED);
	set_slot(vm, 0, CODE_AT, vm->code, CODE_LEN);
	set_slot(vm, 1, MEMORY_AT, p, len);

	vm->vcpu = expect_ok(ioctl(vm->fd, KVM_CREATE_VCPU, 0));
	size = expect_ok(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       vm->vcpu, 0);
	expect(vm->run != MAP_FAILED);
	set_up(vm);
	close(kvm);
}

static void load(struct vm *vm, const void *code, size_t len, u16 value)
{
	memcpy(vm->code, code, len);
	__builtin___clear_cache((char *)vm->code, (char *)vm->code + len);
	set_registers(vm, value);
}

int vm_run(struct vm *vm)
{
	int ret;

	do {
		ret = ioctl(vm->vcpu, KVM_RUN, 0);
	} while (!ret && vm->run->exit_reason == KVM_EXIT_INTR);
	return ret ? errno : 0;
}

int vm_store(struct vm *vm, u16 value)
{
	int err;

	load(vm, store, sizeof(store), value);
	err = vm_run(vm);
	if (!err)
		expect_stored(vm);
	return err;
}

void vm_count(struct vm *vm)
{
	load(vm, count, sizeof(count), 0);
}
