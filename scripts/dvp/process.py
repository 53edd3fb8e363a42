# SPDX-License-Identifier: GPL-2.0-only
"""Commands that leave nothing behind, however they end."""

import asyncio
import ctypes
import glob
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
TIMED_OUT = 124
# For what cleans up after itself.
PATIENCE = 30

libc = ctypes.CDLL(None)


def is_empty(group):
    """Zombies do not count: who has to reap them may be slow, or never do."""
    for path in glob.glob('/proc/[0-9]*/stat'):
        try:
            with open(path, encoding='utf-8', errors='replace') as f:
                state, _, of = f.read().rpartition(')')[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state not in 'ZX':
            return False
    return True


async def end(proc):
    """Ends all of a command's group: kindly, so that guests remove their files."""
    deadline = time.monotonic() + PATIENCE
    try:
        os.killpg(proc.pid, signal.SIGTERM)
        while not is_empty(proc.pid) and time.monotonic() < deadline + PATIENCE:
            if time.monotonic() > deadline:
                os.killpg(proc.pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
    except ProcessLookupError:
        pass
    await proc.wait()


async def run(argv, out=None, env=None, limit=None):
    """Runs a command and returns its exit status; out is a file for what it prints."""
    proc = await asyncio.create_subprocess_exec(
        *argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
        env={**os.environ, **(env or {})}, start_new_session=True,
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM))
    try:
        return await asyncio.wait_for(proc.wait(), limit)
    except asyncio.TimeoutError:
        return TIMED_OUT
    finally:
        await end(proc)
