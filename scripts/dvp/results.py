# SPDX-License-Identifier: GPL-2.0-only
"""Result lines, and the only place that counts them.

A result is one line, behind "[label] " if it came out of a guest:
	ok NAME | not ok NAME: WHY | skip NAME: WHY
"""

import dataclasses
import re

LINE = re.compile(r'(?:\[([^]]*)\] )?(ok|not ok|skip)(?:\s+(.*))?')
SUM = re.compile(r'(\[[^]]*\] )?\d+ passed, \d+ failed, \d+ skipped')


@dataclasses.dataclass(frozen=True)
class Result:
    verdict: str
    name: str
    why: str = ''
    label: str = ''

    def __str__(self):
        label = f'[{self.label}] ' if self.label else ''
        why = f': {self.why}' if self.why else ''
        return f'{label}{self.verdict} {self.name}{why}'

    @property
    def key(self):
        return self.label, self.name


def parse(line):
    """The result in a line, or None."""
    m = LINE.fullmatch(line)
    if not m:
        return None
    name, _, why = (m[3] or '').partition(': ')
    return Result(m[2], name, why, m[1] or '')


def of_output(name, text, status):
    """The results of a command. A bad status must show as a bad result, and a
    command without a result has not tested anything."""
    found = [r for r in map(parse, text.splitlines()) if r]
    if status and not any(r.verdict == 'not ok' for r in found):
        found.append(Result('not ok', name, f'exit status {status}'))
    elif not found:
        found.append(Result('not ok', name, 'no results'))
    return found


def is_sum(line):
    return bool(SUM.fullmatch(line))


def flaky(name, first, second):
    """The results of two runs, of which the first one failed. What failed in one
    of them only has failed."""
    def bad(results):
        return {r.key: r for r in results if r.verdict == 'not ok'}

    def of_both(r):
        if r.key in before and r.verdict != 'not ok':
            return dataclasses.replace(r, verdict='not ok', why=was(before[r.key]))
        if r.verdict == 'not ok' and r.key in fine and r.key not in before:
            return dataclasses.replace(r, why=f'flaky: passed, then failed: {r.why}')
        return r

    def was(r):
        return 'flaky: failed, then passed' + (f': {r.why}' if r.why else '')

    before = bad(first)
    fine = {r.key for r in first if r.verdict == 'ok'}
    merged = [of_both(r) for r in second]
    # A guest that hung, or whose kernel complained: no case of the second run.
    if not bad(merged):
        merged.append(Result('not ok', name, was(next(iter(before.values())))))
    return merged


class Tally:
    def __init__(self):
        self.count = {'ok': 0, 'not ok': 0, 'skip': 0}

    def add(self, result):
        self.count[result.verdict] += 1

    @property
    def failed(self):
        return self.count['not ok']

    @property
    def any(self):
        return any(self.count.values())

    @property
    def good(self):
        """At least one passed, and none failed."""
        return self.count['ok'] > 0 and not self.failed

    def __str__(self):
        return '{ok} passed, {not ok} failed, {skip} skipped'.format(**self.count)
