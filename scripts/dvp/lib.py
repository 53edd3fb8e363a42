# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/lib.sh knows."""

import os
import subprocess

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def ask(command):
    """What a command prints that has scripts/lib.sh."""
    return subprocess.run(['bash', '-c', f'. scripts/lib.sh && {command}'], cwd=TOP,
                          check=True, stdout=subprocess.PIPE, text=True).stdout


def cache_and_families():
    """The cache, and the kernels of each family."""
    cache, *lines = ask('echo "$DVP_CACHE" && families').splitlines()
    return cache, {name: kernels for name, *kernels in map(str.split, lines)}
