/* SPDX-License-Identifier: GPL-2.0-only */
/* A machine of one processor that writes to memory it is given, by KVM. */
#ifndef DVP_LIB_VM_H
#define DVP_LIB_VM_H

#include "harness.h"

struct kvm_run;

struct vm {
	int fd;
	int vcpu;
	struct kvm_run *run;
	u8 *code;
};

/* The machine sees @p, of @len bytes; skips where KVM cannot run. */
void vm_start(struct vm *vm, void *p, size_t len);

/* It writes @value at the start of its memory. Returns 0 or an errno. */
int vm_store(struct vm *vm, u16 value);

/* From now on it counts there; vm_run() returns an errno once it cannot. */
void vm_count(struct vm *vm);
int vm_run(struct vm *vm);

#endif /* DVP_LIB_VM_H */
