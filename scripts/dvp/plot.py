# SPDX-License-Identifier: GPL-2.0-only
"""Small plots of measured points, as SVG: both axes logarithmic."""

import math

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 200, 62, 34, 96
COLOURS = {'ours': '#0b62a4', 'stock': '#b0451e'}


def power(value):
    return math.log10(max(value, 1))


def span(values):
    low, high = math.floor(min(values)), math.ceil(max(values))
    return low, max(high, low + 1)


def short(exponent, unit):
    """10^exponent as people read it."""
    scale = (('', 0), ('k', 3), ('M', 6), ('G', 9), ('T', 12))
    if unit == 'ns':
        scale = (('ns', 0), ('µs', 3), ('ms', 6), ('s', 9), ('000 s', 12))
    name, at = [s for s in scale if s[1] <= exponent][-1]
    return f'{10 ** (exponent - at)} {name}'.strip()


def panel(x, y, title, axis, series):
    """One plot at x, y: series is {name: [(x, nanoseconds), ...]}."""
    points = [p for line in series.values() for p in line]
    x0, x1 = span([power(p[0]) for p in points])
    y0, y1 = span([power(p[1]) for p in points])

    def at(point):
        return (x + (power(point[0]) - x0) / (x1 - x0) * WIDTH,
                y + HEIGHT - (power(point[1]) - y0) / (y1 - y0) * HEIGHT)

    yield f'<text x="{x}" y="{y - 12}" class="title">{title}</text>'
    for e in range(x0, x1 + 1):
        px = at((10 ** e, 1))[0]
        yield f'<path class="grid" d="M{px:.1f} {y}V{y + HEIGHT}"/>'
        yield (f'<text x="{px:.1f}" y="{y + HEIGHT + 15}" text-anchor="middle">'
               f'{short(e, "")}</text>')
    for e in range(y0, y1 + 1):
        py = at((1, 10 ** e))[1]
        yield f'<path class="grid" d="M{x} {py:.1f}H{x + WIDTH}"/>'
        yield f'<text x="{x - 6}" y="{py + 4:.1f}" text-anchor="end">{short(e, "ns")}</text>'
    yield (f'<text x="{x + WIDTH / 2:.0f}" y="{y + HEIGHT + 32}" '
           f'text-anchor="middle">{axis}</text>')
    for name, line in series.items():
        where = [at(p) for p in sorted(line)]
        path = ' '.join(f'{px:.1f},{py:.1f}' for px, py in where)
        yield f'<polyline stroke="{COLOURS[name]}" points="{path}"/>'
        for px, py in where:
            yield f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{COLOURS[name]}"/>'


def svg(note, panels):
    """The text of a picture; panels is [(title, axis, series), ...], two in a row."""
    rows = (len(panels) + 1) // 2
    width, height = 2 * (WIDTH + LEFT) + 40, rows * (HEIGHT + GAP) + 26
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           f'width="{width}" height="{height}">',
           '<style>text{font:12px sans-serif;fill:#333}.title{font-weight:bold}'
           '.grid{stroke:#ddd}polyline{fill:none;stroke-width:2}</style>',
           f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for i, (title, axis, series) in enumerate(panels):
        out += panel(LEFT + i % 2 * (WIDTH + LEFT + 10), TOP + i // 2 * (HEIGHT + GAP),
                     title, axis, series)
    at = LEFT
    for name, colour in COLOURS.items():
        out.append(f'<circle cx="{at}" cy="{height - 16}" r="4" fill="{colour}"/>'
                   f'<text x="{at + 10}" y="{height - 12}">{name}</text>')
        at += 70
    out += [f'<text x="{at}" y="{height - 12}">{note}</text>', '</svg>']
    return '\n'.join(out) + '\n'
