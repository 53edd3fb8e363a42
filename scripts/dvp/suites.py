# SPDX-License-Identifier: GPL-2.0-only
"""tests/suites.toml and tests/mutants/*.patch: what there is to run. Runs nothing.

The file itself says what its tables mean.
"""

import dataclasses
import fnmatch
import os
import re
import tomllib

SET_KEYS = {'kernels', 'busy', 'mutants', 'sets', 'like', 'table'}
GUEST_KEYS = {'cpu', 'hosts', 'iommu', 'timeout', 'smp', 'topology', 'dropin', 'no-load', 'ends',
              'append', 'env', 'files', 'modules', 'qemu', 'tests', 'command',
              'warnings'}
COMMON_KEYS = {'name', 'sets', 'kernels', 'sleeps', 'timeout'}
HOST_TIMEOUT = 3600


class Wrong(Exception):
    """The list, or what was asked of it."""


@dataclasses.dataclass
class Suite:
    name: str
    sets: list
    # None: those of the set. Empty: it needs none, and no build.
    kernels: list | None
    timeout: float
    command: list
    # Arguments of scripts/guest; None: the command runs here.
    guest: list | None = None
    sleeps: bool = False

    def argv(self, kernel, name):
        if self.guest is None:
            return self.command
        return ['scripts/guest', '--kernel', kernel, *self.guest, '--name', name,
                '--', *self.command]


@dataclasses.dataclass
class Set:
    name: str
    # Which family's: where a suite runs that does not say.
    kernels: str | None = None
    # All its guests keep a processor busy.
    busy: bool = False
    mutants: bool = False
    # Stands for these.
    sets: list | None = None
    # Has what that one has, too, but for suites that say their kernels.
    like: str | None = None
    # What it runs on a kernel is that one's row in README's table.
    table: bool = False


@dataclasses.dataclass
class Planned:
    """One suite on one kernel, or on none."""
    suite: Suite
    kernel: str | None
    cases: str = ''     # of dvp-test, if not all
    busy: bool = False

    @property
    def name(self):
        return f'{self.suite.name}-{self.kernel}' if self.kernel else self.suite.name

    @property
    def machine(self):
        """What programs for its guest are built for."""
        if 'arm64' not in (self.kernel or ''):
            return 'amd64'
        return 'arm64-16k' if self.kernel.endswith('-16k') else 'arm64'


class Suites:
    def __init__(self, text, families):
        data = tomllib.loads(text)
        self.families = families
        self.known = [k for kernels in families.values() for k in kernels]
        self.words = data.pop('words', {})
        self.sets = {n: self._set(n, t) for n, t in data.pop('set', {}).items()}
        self.suites = []
        for kind, tables in data.items():
            if kind not in ('guest', 'host'):
                raise Wrong(f'unknown table [{kind}]')
            for table in tables:
                self.suites.append(self._suite(kind, table))
        names = [s.name for s in self.suites]
        for name in names:
            if names.count(name) > 1:
                raise Wrong(f'{name}: is there twice')

    def _set(self, name, table):
        if table.keys() - SET_KEYS:
            raise Wrong(f'set {name}: unknown {sorted(table.keys() - SET_KEYS)}')
        return Set(name, **table)

    def _list(self, value):
        """An array, with "@NAME" for the words of that name."""
        out = []
        for item in value:
            if item.startswith('@'):
                if item[1:] not in self.words:
                    raise Wrong(f'{item}: not in [words]')
                out += self.words[item[1:]]
            else:
                out.append(item)
        return out

    def _suite(self, kind, table):
        name = table.get('name', '?')
        keys = COMMON_KEYS | (GUEST_KEYS if kind == 'guest' else {'command'})
        if table.keys() - keys:
            raise Wrong(f'{name}: unknown {sorted(table.keys() - keys)}')
        if not table.get('sets') or any(s not in self.sets for s in table['sets']):
            raise Wrong(f'{name}: sets are some of {sorted(self.sets)}')
        kernels = self._list(table['kernels']) if 'kernels' in table else None
        if any(k not in self.known for k in kernels or ()):
            raise Wrong(f'{name}: kernels are some of {self.known}')
        if kernels is None and not all(self.sets[s].kernels for s in table['sets']):
            raise Wrong(f'{name}: does not say its kernels')
        if ('tests' in table) == ('command' in table):
            raise Wrong(f'{name}: one of tests and command')
        if kind == 'guest' and 'timeout' not in table:
            raise Wrong(f'{name}: no timeout')
        sets = table['sets'] + [s.name for s in self.sets.values()
                                if s.like in table['sets'] and not kernels]
        return Suite(name, sets, kernels, table.get('timeout', HOST_TIMEOUT),
                     ['dvp-test', *self._list(table['tests'])] if 'tests' in table
                     else self._list(table['command']),
                     self._guest(table) if kind == 'guest' else None,
                     table.get('sleeps', False))

    def _guest(self, t):
        args = ['--iommu', t.get('iommu', 'on'), '--timeout', str(t['timeout'])]
        args += [f'--{key}={t[key]}' for key in
                 ('cpu', 'hosts', 'smp', 'topology', 'append', 'warnings') if key in t]
        args += [f'--{key}' for key in ('dropin', 'no-load', 'ends') if t.get(key)]
        args += [f'--env={k}={v}' for k, v in t.get('env', {}).items()]
        args += [f'--file={f}' for f in self._list(t.get('files', []))]
        if 'modules' in t:
            args.append('--module=' + ','.join(self._list(t['modules'])))
        if 'qemu' in t:
            args.append('--qemu=' + ' '.join(self._list(t['qemu'])))
        return args

    def resolve(self, name):
        """The sets that a name stands for."""
        if name not in self.sets:
            raise Wrong(f"no set '{name}': one of {' '.join(self.sets)}")
        return [self.sets[n] for n in self.sets[name].sets or [name]]

    def kernels_of(self, suite, sets):
        if suite.kernels is not None:
            return suite.kernels
        return [k for s in sets if s.name in suite.sets
                for k in self.families[s.kernels]]

    def kernels(self, sets):
        """Those that some suite of the sets is for, in the usual order."""
        used = {k for s in self._in(sets) for k in self.kernels_of(s, sets)}
        return [k for k in self.known if k in used]

    def _in(self, sets):
        names = {s.name for s in sets}
        return [s for s in self.suites if names & set(s.sets)]

    def plan(self, sets, kernels, pattern='', has_cases=lambda args, pattern: False):
        """What to run. A pattern is that of a name, or part of it; else dvp-test
        knows which cases it means (has_cases)."""
        out = []
        for suite in self._in(sets):
            cases = ''
            if suite.kernels == []:
                # Neither a guest nor a script that boots some: by its name alone.
                if pattern in ('', suite.name):
                    out.append(Planned(suite, None))
                continue
            if not fnmatch.fnmatchcase(suite.name, f'*{pattern}*'):
                cases = pattern
                if suite.command[0] != 'dvp-test' or \
                        not has_cases(suite.command[1:], pattern):
                    continue
            busy = all(s.busy for s in sets if s.name in suite.sets)
            out += [Planned(suite, k, cases, busy)
                    for k in self.kernels_of(suite, sets) if k in kernels]
        return out


# --- mutants

@dataclasses.dataclass
class Mutant:
    patch: str
    kernel: str
    cases: str
    guest: list
    script: list

    @property
    def name(self):
        """ROOM/WHAT: the file of the driver, and what is wrong with it."""
        return '/'.join(self.patch.removesuffix('.patch').split('/')[-2:])

    @property
    def slug(self):
        return self.name.replace('/', '-')

    @property
    def dropin(self):
        """Whether it boots the drop-in, too."""
        return '--dropin' in self.guest or \
            bool(self.script and self.script[0].startswith('tests/'))


def mutant(patch, text):
    def field(key):
        return ' '.join(re.findall(rf'^# {key}: (.*)$', text, re.MULTILINE))

    return Mutant(patch, field('kernel') or '7.3', field('fails'),
                  field('guest').split(), field('script').split())
