# SPDX-License-Identifier: GPL-2.0-only
"""What a run leaves for others to read: KTAP, JUnit's XML, times, a sum by kernel."""

import dataclasses
import fcntl
import json
import os
import re
import xml.etree.ElementTree as ET

# Control characters, which XML cannot say at all.
UNSPEAKABLE = re.compile('[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')

# What scripts/guest says first: the release that runs.
UP = re.compile(r'# up in [0-9.]+ s, (\S+)')


@dataclasses.dataclass
class Record:
    """A job that ended, or was not run (skipped says why)."""
    name: str
    results: list
    seconds: float = 0
    output: str = ''
    skipped: str = ''
    before: float | None = None     # seconds, the last time
    kernel: str = ''                # of README's table

    def count(self, verdict):
        return sum(r.verdict == verdict for r in self.results)


# --- KTAP

def ktap_line(number, result):
    name = result.name.replace('#', r'\#')
    why = result.why.replace('\n', ' ')
    if result.verdict == 'skip':
        return f'ok {number} {name} # SKIP {why}'
    return f'{result.verdict} {number} {name}' + (f' # {why}' if why else '')


def ktap(number, record):
    """The lines for one job; its results are a test of their own."""
    if record.skipped:
        return [f'ok {number} {record.name} # SKIP {record.skipped}']
    if [r.name for r in record.results] == [record.name]:
        return [ktap_line(number, record.results[0])]
    lines = ['    KTAP version 1', f'    # Subtest: {record.name}',
             f'    1..{len(record.results)}']
    lines += ['    ' + ktap_line(i, r) for i, r in enumerate(record.results, 1)]
    bad = 'not ok' if record.count('not ok') else 'ok'
    return [*lines, f'{bad} {number} {record.name}']


# --- JUnit

def junit(records):
    def speakable(text):
        return UNSPEAKABLE.sub('?', text)

    def seconds(value):
        return f'{value:.1f}'

    top = ET.Element('testsuites', time=seconds(sum(r.seconds for r in records)))
    for record in records:
        suite = ET.SubElement(
            top, 'testsuite', name=record.name, time=seconds(record.seconds),
            tests=str(len(record.results) + bool(record.skipped)),
            failures=str(record.count('not ok')), errors='0',
            skipped=str(record.count('skip') + bool(record.skipped)))
        for r in record.results:
            case = ET.SubElement(suite, 'testcase', name=speakable(r.name),
                                 classname=speakable(record.name))
            if len(record.results) == 1:
                case.set('time', seconds(record.seconds))
            if r.verdict != 'ok':
                ET.SubElement(case, 'failure' if r.verdict == 'not ok' else 'skipped',
                              message=speakable(r.why))
        if record.skipped:
            case = ET.SubElement(suite, 'testcase', name=record.name,
                                 classname=record.name)
            ET.SubElement(case, 'skipped', message=speakable(record.skipped))
        if record.count('not ok'):
            ET.SubElement(suite, 'system-out').text = speakable(record.output)
    for what in ('tests', 'failures', 'errors', 'skipped'):
        top.set(what, str(sum(int(s.get(what)) for s in top)))
    ET.indent(top)
    return ET.tostring(top, encoding='unicode', xml_declaration=True) + '\n'


# --- times

def table(records, wall):
    lines = ['| what | seconds | last time | passed | failed | skipped |',
             '|---|---:|---:|---:|---:|---:|']
    for r in sorted(records, key=lambda r: -r.seconds):
        before = '' if r.before is None else f'{r.before:.0f}'
        lines.append(f'| {r.name} | {r.seconds:.0f} | {before} | {r.count("ok")} | '
                     f'{r.count("not ok")} | {r.count("skip")} |')
    total = sum(r.seconds for r in records)
    lines.append(f'| all, in {wall:.0f} seconds | {total:.0f} | | | | |')
    return '\n'.join(lines) + '\n'


def read_times(path):
    try:
        return {k: float(v) for k, v in read_kept(path).items()}
    except (ValueError, TypeError):
        return {}


def keep_times(path, times):
    keep(path, {k: round(v, 1) for k, v in times.items()})


# --- kernels

def by_kernel(records, date):
    """What README's table says of each kernel: the sum of its guests."""
    out = {}
    for r in records:
        if not r.kernel:
            continue
        row = out.setdefault(r.kernel, {'release': '', 'passed': 0, 'failed': 0,
                                        'skipped': 0, 'date': date})
        for verdict, key in (('ok', 'passed'), ('not ok', 'failed'), ('skip', 'skipped')):
            row[key] += r.count(verdict)
        up = UP.search(r.output)
        row['release'] = row['release'] or (up[1] if up else '')
    return out


# --- what one run keeps for others

def read_kept(path):
    try:
        with open(path, encoding='utf-8') as f:
            return dict(json.load(f))
    except (OSError, ValueError, TypeError):
        return {}


def keep(path, values):
    """Adds them to those of other runs, which may end at the same time."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + '.lock', 'w', encoding='utf-8') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        values = {**read_kept(path), **values}
        with open(path + '.new', 'w', encoding='utf-8') as f:
            json.dump(dict(sorted(values.items())), f, indent=1)
        os.rename(path + '.new', path)
