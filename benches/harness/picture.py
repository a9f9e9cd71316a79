"""One picture of all rows: bars of speed and of memory, a panel a work, as SVG by hand."""

from html import escape

from .table import figure, groups, is_pft, ratios

WIDTH, LEFT, BAR, GAP, PANEL = 1000, 290, 16, 6, 46
SPEED, MEMORY = (LEFT, 400), (LEFT + 430, 200)
OURS, PEER, INK, FAINT = "#c2410c", "#94a3b8", "#0f172a", "#64748b"

TITLES = {
    "w1": "Training w1: GPT-2 of 6 × 256, vocabulary 8,192, batch 8 × 256",
    "w2": "Training w2: GPT-2 small shape, batch 4 × 256",
    "w3": "Training w3: SmolLM2-135M shape, LoRA rank 8 on q and v, batch 4 × 256",
    "generate": "Generating 256 tokens, SmolLM2-135M from a Q4_1 GGUF",
    "spacy-small": "Tagging with spaCy's small English pipeline, ner alone",
    "fast.yml": "Tagging personal data: fast.yml",
    "default.yml": "Tagging personal data: default.yml",
    "minilm": "Tagging with a transformer of MiniLM's size",
    "bert-base": "Tagging with a transformer of BERT-base's size",
    "tokenize": "Tokenizing judgments",
    "cached": "A run of pipelines/echr-compare.yml with nothing left to do",
}


def draw(rows: list[dict], machine: str) -> str:
    """The picture's SVG text."""
    parts, y = [], 64
    for (work, private), members in groups(rows).items():
        y = panel(parts, y, TITLES.get(work, work) + (", private" if private else ""), members)
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
    with_throughput = [row for row in rows if row["throughput"]]
    speed = {id(row): row["throughput"] if with_throughput else 1 / row["median"] for row in rows}
    fastest = max(speed.values())
    largest = max(row["peak_rss_mb"] for row in rows) or 1
    unit = rows[0]["throughput_unit"] if with_throughput else "speed"
    parts.append(text(16, y + 12, title, INK, size=14))
    y += 20
    parts.append(text(SPEED[0], y + 12, f"{unit} (longer is better)", FAINT))
    parts.append(text(MEMORY[0], y + 12, "peak MB (shorter is better)", FAINT))
    y += 20
    for row in sorted(rows, key=lambda row: -speed[id(row)]):
        fill = OURS if is_pft(row) else PEER
        said = figure(row["throughput"]) if row["throughput"] else \
            f"{figure(row['median'])} {row['unit']}"
        ratio = None if is_pft(row) else ratios(row, rows)
        if ratio:
            said += f" (pft {ratio[0]:.2f} ×)"
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
