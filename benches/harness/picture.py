"""One picture of all rows: bars of speed and of memory, a panel a work, as SVG by hand."""

from html import escape
from itertools import groupby

from .table import figure, group, is_pft, ratios

WIDTH, LEFT, BAR, GAP, PANEL = 1000, 290, 16, 6, 46
SPEED, MEMORY = (LEFT, 400), (LEFT + 430, 200)
OURS, PEER, INK, FAINT = "#c2410c", "#94a3b8", "#0f172a", "#64748b"


def draw(rows: list[dict], machine: str) -> str:
    """The picture's SVG text."""
    parts, y = [], 64
    for (work, private), members in groupby(sorted(rows, key=group), key=group):
        y = panel(parts, y, work + (", private" if private else ""), list(members))
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{y}" fill="white"/>',
        text(16, 26, "pft and its peers", INK, size=17),
        text(16, 46, machine, FAINT),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def panel(parts: list[str], y: int, title: str, rows: list[dict]) -> int:
    """Adds one work; returns where the next begins."""
    rows = sorted(rows, key=lambda row: not is_pft(row))
    with_throughput = [row for row in rows if row["throughput"]]
    speed = {id(row): row["throughput"] if with_throughput else 1 / row["median"] for row in rows}
    fastest = max(speed.values())
    largest = max(row["peak_rss_mb"] for row in rows) or 1
    unit = rows[0]["throughput_unit"] if with_throughput else "speed"
    parts.append(text(16, y + 12, title, INK, size=14))
    parts.append(text(SPEED[0], y + 12, f"{unit} (longer is better)", FAINT))
    parts.append(text(MEMORY[0], y + 12, "peak MB (shorter is better)", FAINT))
    y += 22
    for row in sorted(rows, key=lambda row: -speed[id(row)]):
        fill = OURS if is_pft(row) else PEER
        said = f"{row['throughput']:,.0f}" if row["throughput"] else \
            f"{figure(row['median'])} {row['unit']}"
        ratio = None if is_pft(row) else ratios(row, rows)
        if ratio:
            said += f"   (pft × {ratio[0]:.2f})"
        parts.append(text(LEFT - 10, y + 12, row["system"], INK, anchor="end"))
        bar(parts, SPEED, y, speed[id(row)] / fastest, fill, said)
        bar(parts, MEMORY, y, row["peak_rss_mb"] / largest, fill, f"{row['peak_rss_mb']:,.0f}")
        y += BAR + GAP
    return y + PANEL - 22


def bar(parts: list[str], place: tuple, y: int, share: float, fill: str, said: str) -> None:
    left, room = place
    # The longest bar leaves room for its figure.
    width = max(1, round((room - 130) * share)) if place is SPEED else max(1, round((room - 50) * share))
    parts.append(f'<rect x="{left}" y="{y}" width="{width}" height="{BAR}" rx="2" fill="{fill}"/>')
    parts.append(text(left + width + 6, y + 12, said, INK))


def text(x: int, y: int, said: str, fill: str, size: int = 12, anchor: str = "start") -> str:
    return (f'<text x="{x}" y="{y}" fill="{fill}" font-size="{size}" text-anchor="{anchor}">'
            f"{escape(said)}</text>")
