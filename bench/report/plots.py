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


def round_top(most):
    """The least top of an axis of four even steps that `most` fits under."""
    step = (most or 1) / 4
    power = 10 ** math.floor(math.log10(step))
    return 4 * next(power * factor for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if power * factor >= step)


def value_axis(top):
    place = scale_to(top)
    body = []
    for step in range(5):
        value = top * step / 4
        y = place(value)
        body.append(f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        body.append(text(LEFT - 6, y + 4, short(value), "end"))
    return body


def lines(title, axis, unit, series):
    """`series`: name -> [(x, y)], x on a logarithmic axis; there is at least one point."""
    points = [point for line in series.values() for point in line]
    top = round_top(max(y for _, y in points))
    xs = sorted({x for x, _ in points})
    span = math.log10(xs[-1] / xs[0]) or 1
    across = {x: LEFT + 20 + math.log10(x / xs[0]) / span * (WIDTH - LEFT - 60) for x in xs}
    place = scale_to(top)
    body = value_axis(top)
    body += [text(across[x], HEIGHT - BOTTOM + 16, short(x)) for x in xs]
    body.append(text(LEFT, HEIGHT - 6, f"{unit}, by {axis}", "start", colour=GREY))
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        joined = " ".join(f"{across[x]:.1f},{place(y):.1f}" for x, y in sorted(line))
        body.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{across[x]:.1f}" cy="{place(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        body.append(text(WIDTH - 14 - 70 * number, HEIGHT - 6, name, "end", colour=colour))
    return frame(title, body)


def bars(title, unit, values):
    """`values`, not empty: name -> figures.Estimate; the whisker is where it lies when the rounds are drawn again."""
    top = round_top(max(max(found.high, 0) for found in values.values()))
    place = scale_to(top)
    wide = (WIDTH - LEFT - 20) / len(values)
    body = [*value_axis(top), text(LEFT, HEIGHT - 6, unit, "start", colour=GREY)]
    for number, (name, found) in enumerate(values.items()):
        x, y = LEFT + 10 + number * wide, place(found.value)
        middle = x + wide * 0.4
        body.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide * 0.8:.1f}" height="{HEIGHT - BOTTOM - y:.1f}" '
                    f'fill="{COLOURS[0]}" opacity="0.8"/>')
        body.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{place(found.low):.1f}" '
                    f'y2="{place(found.high):.1f}" stroke="#222"/>')
        body.append(text(middle, HEIGHT - BOTTOM + 14, name, size=9))
    return frame(title, body)
