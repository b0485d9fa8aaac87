"""Draws the benchmark as SVG: throughput over message size, and round trips as bars."""

import math

WIDTH, HEIGHT, PANEL_HEIGHT = 860, 420, 300
LEFT, TOP = 70, 60
COLOURS = {"lyquor": "#0b6bcb", "libzmq": "#d1590b", "raw": "#777777",
           "callback": "#0b6bcb", "thread": "#4d9be6", "busy poll": "#063f7a"}


def svg(report):
    about = report["about"]
    title = (f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['date']}; "
             f"loopback, medians of {about['rounds']} rounds")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(LEFT, 24, "Throughput and round trip", size=16),
        text(LEFT, 42, title, colour="#555555"),
    ]
    parts += throughput([r for r in report["rows"] if r["row"].endswith(" B") and r["unit"] != "us"
                         and "," not in r["row"]])
    parts += round_trips([r for r in report["rows"] if r["row"].startswith("round trip")])
    return "\n".join(parts + ["</svg>", ""])


def text(x, y, what, anchor="start", colour="#222222", size=12):
    what = what.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{what}</text>'


def segment(x1, y1, x2, y2, colour, width=1):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def size_name(size):
    for unit, step in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= step:
            return f"{size // step} {unit}"
    return f"{size} B"


def throughput(rows):
    """Bytes per second over message size, both on logarithmic axes: small messages and large ones in one picture."""
    series = {}
    for row in rows:
        for c in row["contenders"]:
            rate = c["median"] * (c["size"] if row["unit"] == "messages/s" else 1) / 1e6
            series.setdefault(c["name"], []).append((c["size"], rate))
    points = [p for line in series.values() for p in line]
    if not points:
        return []
    sizes = sorted({size for size, _ in points})
    low = 10 ** math.floor(math.log10(min(rate for _, rate in points)))
    high = 10 ** math.ceil(math.log10(max(rate for _, rate in points)))
    width, bottom = 400, TOP + PANEL_HEIGHT

    def place(size, rate):
        x = LEFT + width * math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        return x, bottom - PANEL_HEIGHT * math.log(rate / low) / math.log(high / low)

    parts = []
    rate = low
    while rate <= high:
        _, y = place(sizes[0], rate)
        parts += [segment(LEFT, y, LEFT + width, y, "#dddddd"), text(LEFT - 8, y + 4, f"{rate:g}", "end")]
        rate *= 10
    for size in sizes:
        parts.append(text(place(size, low)[0], bottom + 18, size_name(size), "middle"))
    parts.append(text(LEFT, bottom + 38, "MB/s over message size; both axes logarithmic", colour="#555555"))
    for i, (name, line) in enumerate(series.items()):
        colour = COLOURS.get(name, "#000000")
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*p) for p in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in (place(*p) for p in line)]
        parts += [segment(LEFT + 250, TOP + 200 + 18 * i, LEFT + 274, TOP + 200 + 18 * i, colour, 2),
                  text(LEFT + 280, TOP + 204 + 18 * i, "bare TCP, 64 KiB blocks" if name == "raw" else name)]
    return parts


def round_trips(rows):
    """One bar each: the median, and its figure."""
    bars = [c for row in rows for c in row["contenders"]]
    if not bars:
        return []
    left, width = 610, 180
    longest = max(c["median"] for c in bars)
    parts = [text(left - 66, TOP + 10, "Round trip of 64 B, median in microseconds")]
    for i, c in enumerate(bars):
        y = TOP + 30 + 40 * i
        length = width * c["median"] / longest
        name = {"raw": "bare TCP", "libzmq": "libzmq"}.get(c["name"], c["name"])
        parts += [
            text(left - 8, y + 17, name, "end"),
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="24" fill="{COLOURS.get(c["name"], "#000000")}"/>',
            text(left + length + 6, y + 17, f"{c['median']:.1f}"),
        ]
    return parts
