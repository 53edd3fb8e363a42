// SPDX-License-Identifier: GPL-2.0-only
/*
 * The system goes down while a reset waits for an importer that cannot be cut
 * off and does not let go. Each case ends the guest: "scripts/guest --ends".
 */
#define _GNU_SOURCE
#include <linux/reboot.h>
#include <signal.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

static void go_down(int how)
{
	struct rig rig = {};
	pid_t pid;

	rig_open_direct(&rig, "shm_sw", "edu_sw");
	vfio_grace(100);
	rig_hold(&rig);
	pid = t_fork();
	if (!pid) {
		rig_sysfs_reset(&rig);
		_exit(0);
	}
	rig_quick_lets_go(&rig);
	t_sleep_ms(1000);
	expect_eq(waitpid(pid, NULL, WNOHANG), 0);
	gate_expect(rig.bdf, "reset");
	sync();
	expect_ok(reboot(how));
	t_fail("still here");
}

TEST(poweroff, off)
{
	go_down(RB_POWER_OFF);
}

TEST(poweroff, restart)
{
	go_down(RB_AUTOBOOT);
}
