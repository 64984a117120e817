"""Small plots, written as SVG by hand."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 260, 70, 34, 42
COLOURS = ("#1f6feb", "#d1570a", "#2e7d32", "#8e24aa")
GREY = "#777"


def short(value):
    """A number in a few characters."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def text(x, y, said, anchor="middle", size=11, colour="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">'
            f"{escape(str(said))}</text>")


def frame(title, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>'
            + text(WIDTH / 2, 18, title, size=13) + "".join(body) + "</svg>\n")


def scale_to(top):
    """Maps 0..top to the height of the drawing."""
    bottom = HEIGHT - BOTTOM
    return lambda value: bottom - max(value, 0) / (top or 1) * (bottom - TOP)


def value_axis(top, unit):
    place = scale_to(top)
    body = []
    for step in range(5):
        value = top * step / 4
        y = place(value)
        body.append(f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        body.append(text(LEFT - 6, y + 4, short(value), "end"))
    body.append(text(6, TOP - 4, unit, "start", colour=GREY))
    return body


def lines(title, axis, unit, series):
    """`series`: name -> [(x, y)], x on a logarithmic axis."""
    points = [point for line in series.values() for point in line]
    top = max((y for _, y in points), default=1) * 1.1
    xs = sorted({x for x, _ in points})
    span = math.log10(xs[-1] / xs[0]) or 1
    across = {x: LEFT + 20 + math.log10(x / xs[0]) / span * (WIDTH - LEFT - 60) for x in xs}
    place = scale_to(top)
    body = value_axis(top, unit)
    body += [text(across[x], HEIGHT - BOTTOM + 16, short(x)) for x in xs]
    body.append(text(WIDTH / 2, HEIGHT - 6, axis, colour=GREY))
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        joined = " ".join(f"{across[x]:.1f},{place(y):.1f}" for x, y in sorted(line))
        body.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{across[x]:.1f}" cy="{place(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        body.append(text(WIDTH - 14, TOP + 14 + 14 * number, name, "end", colour=colour))
    return frame(title, body)


def bars(title, unit, values):
    """`values`: name -> figures.Estimate; the whisker is where it lies when the rounds are drawn again."""
    top = max((found.high for found in values.values()), default=1) * 1.1
    place = scale_to(top)
    wide = (WIDTH - LEFT - 20) / max(len(values), 1)
    body = value_axis(top, unit)
    for number, (name, found) in enumerate(values.items()):
        x, y = LEFT + 10 + number * wide, place(found.value)
        middle = x + wide * 0.4
        body.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide * 0.8:.1f}" height="{HEIGHT - BOTTOM - y:.1f}" '
                    f'fill="{COLOURS[0]}" opacity="0.8"/>')
        body.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{place(found.low):.1f}" '
                    f'y2="{place(found.high):.1f}" stroke="#222"/>')
        body.append(text(middle, HEIGHT - BOTTOM + 14, name, size=10))
    return frame(title, body)
