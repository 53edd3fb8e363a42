# SPDX-License-Identifier: GPL-2.0-only
"""What the fuzzer reached of the driver: the bits of tests/importer/dvp_cover.c as
lines of src/."""

import os
import re
import subprocess

HOOK = '__sanitizer_cov_trace_pc'


def output(*argv, text=None):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, input=text,
                          text=True).stdout


def calls(module):
    """Where the compiler put calls of the hook, and where the hook is."""
    sites, section = [], ''
    for line in output('readelf', '-rW', module).splitlines():
        m = re.match(r"Relocation section '(\S+)'", line)
        section = m[1] if m else section
        m = re.match(r'([0-9a-f]+)\s.*\s' + HOOK + r'\b', line)
        if m and section == '.rela.text':
            # The address that the call pushes: behind its four bytes.
            sites.append(int(m[1], 16) + 4)
    m = re.search(r'([0-9a-f]{16}) .* ' + HOOK + '$', output('readelf', '-sW', module),
                  re.MULTILINE)
    return sites, int(m[1], 16)


def bitmap(lines):
    """The bits, as an output of dvp-test says them."""
    bits = bytearray(4096)
    for line in lines:
        m = re.match(r'# cover: (\d+) ([0-9a-f]+)$', line)
        if m:
            data = bytes.fromhex(m[2])
            bits[int(m[1]):int(m[1]) + len(data)] = data
    return bits


def places(module, sites):
    """The function, file and line of each; what is inlined from elsewhere is where
    the driver asks for it."""
    out = output('addr2line', '-j', '.text', '-a', '-i', '-f', '-e', module,
                 text=''.join(f'{s - 5:#x}\n' for s in sites)).splitlines()
    frames = []
    for line in out:
        if line.startswith('0x'):
            frames.append([])
        else:
            frames[-1].append(line)
    found = []
    for frame in frames:
        place = ('', '', 0)
        for function, where in reversed(list(zip(frame[::2], frame[1::2]))):
            m = re.search(r'(?:^|/)src/(?:\./)?(\w+\.[ch]):(\d+)', where)
            if m:
                place = (function, 'src/' + m[1], int(m[2]))
        found.append(place)
    return found


def report(build, lines, path):
    module = os.path.join(build, 'dmabuf_vfio_pci.ko')
    sites, hook = calls(module)
    bits = bitmap(lines)
    reached, every = set(), {}
    for site, (function, file, line) in zip(sites, places(module, sites)):
        # A tracepoint's functions are the kernel's macros.
        if not file or file in ('src/trace.h', 'src/trace.c'):
            continue
        bit = (hook - site) // 8
        every[file, line] = function
        if bits[bit // 8] >> bit % 8 & 1:
            reached.add((file, line))
    missed = {}
    for (file, line), function in sorted(every.items()):
        if (file, line) not in reached:
            missed.setdefault((file, function), []).append(line)
    with open(path, 'w', encoding='utf-8') as f:
        for (file, function), at in sorted(missed.items()):
            f.write(f'{file} {function}: {" ".join(map(str, at))}\n')
    print(f'# {len(reached)} of {len(every)} lines of the driver that begin a '
          f'branch were reached; the others: {path}')
