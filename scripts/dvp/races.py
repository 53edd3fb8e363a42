# SPDX-License-Identifier: GPL-2.0-only
"""KCSAN's reports on a console. Runs nothing.

KCSAN finds races in much of the kernel, and each takes many lines. A report is ours when
one of its stacks has a function of the driver, be it as a caller; the others are the
kernel's own, whatever they are.
"""

import dataclasses
import re

START = re.compile(r'BUG: KCSAN: (.*)')
END = re.compile(r'={20,}$')
STAMP = re.compile(r'^(\[ *[\d.]+\](\[ *[TC]\d+\])? )?')
OURS = re.compile(r'\[(dmabuf_vfio_pci)\]')
# An address, or what comes after a function's name in it, says nothing.
PLACE = re.compile(r'\+0x[0-9a-f]+/0x[0-9a-f]+')
# A report that has lost its end.
LINES_AT_MOST = 120


@dataclasses.dataclass
class Race:
    title: str
    ours: bool
    # Functions of the stacks, and what happens in which.
    text: str


class Reports:
    def __init__(self):
        self.lines = None
        self.ended = []

    def take(self, line):
        """Whether the line is part of a report."""
        line = STAMP.sub('', line)
        if START.search(line):
            self.end()
            self.lines = [line]
            return True
        if self.lines is None:
            return False
        self.lines.append(line)
        if END.search(line) or len(self.lines) > LINES_AT_MOST:
            self.end()
        return True

    def end(self):
        """The console's end, or a report's."""
        if self.lines:
            text = '\n'.join(PLACE.sub('', x) for x in self.lines)
            self.ended.append(Race(START.search(self.lines[0])[1].strip(),
                                   bool(OURS.search(text)), text))
        self.lines = None

    def new(self):
        """Those that ended since the last call."""
        out, self.ended = self.ended, []
        return out
