# SPDX-License-Identifier: GPL-2.0-only
"""Commands that leave nothing behind, however they end."""

import asyncio
import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
TIMED_OUT = 124
# For what cleans up after itself.
PATIENCE = 30

libc = ctypes.CDLL(None)


def adopt_orphans():
    """So that end() can tell when a group is empty."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)


async def end(proc):
    """Ends all of a command's group: kindly, so that guests remove their files."""
    sig, deadline = signal.SIGTERM, time.monotonic() + PATIENCE
    try:
        os.killpg(proc.pid, sig)
        await_leader = asyncio.ensure_future(proc.wait())
        while True:
            # The leader's status is asyncio's, those of orphans are nobody's.
            if await_leader.done():
                try:
                    while os.waitpid(-proc.pid, os.WNOHANG) != (0, 0):
                        pass
                except ChildProcessError:
                    pass
            os.killpg(proc.pid, 0)
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
