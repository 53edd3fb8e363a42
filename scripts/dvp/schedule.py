# SPDX-License-Identifier: GPL-2.0-only
"""Which job runs when: decides, and runs nothing."""

import dataclasses
import typing

# What others wait for comes first, what is run once more last.
FETCH, BUILD, STATIC, TEST, AGAIN = range(5)


@dataclasses.dataclass
class Job:
    name: str
    run: typing.Callable
    weight: int
    rank: int = TEST
    estimate: float = 0
    # Jobs that have to succeed before.
    needs: tuple = ()


class Weights:
    """Weights in pieces small enough for all: a guest has 2 * processors of them.
    One guest more than processors runs at a time, since some wait; where all are
    busy, as many as processors. Two that sleep most of the time count as one."""

    def __init__(self, processors, jobs=None):
        self.guest = 2 * processors
        self.sleeper = processors
        self.capacity = self.guest * (jobs or processors + 1)
        self.busy = self.guest if jobs else self.guest + 2

    def of(self, sleeps, busy):
        return self.sleeper if sleeps else self.busy if busy else self.guest


class Schedule:
    def __init__(self, jobs, capacity, done=None):
        self.capacity = capacity
        self.waiting = []
        self.running = []
        self.done = dict(done or {})    # by name, whether it succeeded
        self.dropped = []               # what they need has failed
        for job in jobs:
            self.add(job)
        self._drop()

    def add(self, job):
        self.waiting.append(job)
        # Stable: the order of the list, where nothing is known of the times.
        self.waiting.sort(key=lambda j: (j.rank, -j.estimate))

    def weight(self, job):
        return min(job.weight, self.capacity)

    def next(self):
        """The job to start now, if there is one. The first that is ready and does
        not fit waits for room, and those behind it with it: it is the longest."""
        free = self.capacity - sum(map(self.weight, self.running))
        for job in self.waiting:
            if all(self.done.get(n) for n in job.needs):
                if self.weight(job) > free:
                    return None
                self.waiting.remove(job)
                self.running.append(job)
                return job
        return None

    def finish(self, job, good):
        self.running.remove(job)
        self.done[job.name] = good
        self._drop()

    def _drop(self):
        while True:
            lost = [j for j in self.waiting
                    if any(self.done.get(n) is False for n in j.needs)]
            if not lost:
                return
            for j in lost:
                self.waiting.remove(j)
                self.done[j.name] = False
            self.dropped += lost


def estimate(times, name, kernels=(), timeout=0):
    """Seconds: those of the last run; else those on another kernel, where a name is
    "SUITE-KERNEL"; else some of what it may take."""
    if name in times:
        return times[name]
    suite = next((name.removesuffix(f'-{k}') for k in kernels if name.endswith(f'-{k}')),
                 None)
    like = [times[f'{suite}-{k}'] for k in kernels if f'{suite}-{k}' in times]
    return max(like) if like else timeout / 3
