"""Ratios as a table for people."""

HEADER = ("work", "system", "median (min..max)", "throughput", "peak MB", "× speed", "× memory")


def groups(rows: list[dict]) -> dict[tuple, list[dict]]:
    """The rows of each work, with and without privacy, pft's first, in the order they came in."""
    made = {}
    for row in sorted(rows, key=lambda row: not is_pft(row)):
        made.setdefault((row["work"], row["private"]), []).append(row)
    order = list(dict.fromkeys((row["work"], row["private"]) for row in rows))
    return {key: made[key] for key in order}


def is_pft(row: dict) -> bool:
    return row["system"].split(" ")[0] == "pft"


def ratios(row: dict, rows: list[dict]) -> tuple[float, float] | None:
    """How many times faster pft is, and what part of the memory it takes: for a peer's row of
    `rows`, pft's first against it; for a row of pft's, that against the fastest peer."""
    others = [other for other in rows if is_pft(other) != is_pft(row)]
    if not others:
        return None
    other = min(others, key=lambda other: other["median"]) if is_pft(row) else others[0]
    own, peer = (row, other) if is_pft(row) else (other, row)
    return peer["median"] / own["median"], own["peak_rss_mb"] / max(peer["peak_rss_mb"], 0.1)


def lines(rows: list[dict]) -> list[tuple]:
    made = []
    for (work, private), members in groups(rows).items():
        own = members[0] if is_pft(members[0]) else None
        for row in members:
            ratio = ratios(row, members)
            made.append((
                work + (", private" if private else ""),
                row["system"],
                f"{figure(row['median'])} ({figure(row['min'])}..{figure(row['max'])}) {row['unit']}",
                f"{figure(row['throughput'])} {row['throughput_unit']}" if row["throughput"] else "",
                f"{row['peak_rss_mb']:,.0f}",
                f"{ratio[0]:.2f}" if ratio else "",
                f"{ratio[1]:.2f}" if ratio else "",
            ))
        if own and own.get("products_ms"):
            # Both at their fastest, as the products are only known so.
            over = own["min"] / own["products_ms"]
            made.append((work, "pft: step over its products", f"{over:.2f} × time", "", "", "", ""))
    made.extend(price_of_privacy(rows))
    return made


def price_of_privacy(rows: list[dict]) -> list[tuple]:
    """pft with privacy over pft without it."""
    own = {(row["work"], row["private"]): row for row in rows if row["system"] == "pft"}
    made = []
    for (work, private), row in own.items():
        plain = own.get((work, False))
        if private and plain:
            time = row["median"] / plain["median"]
            memory = row["peak_rss_mb"] / plain["peak_rss_mb"]
            made.append((work, "pft: private over not", f"{time:.2f} × time", "",
                         f"{memory:.2f} ×", "", ""))
    return made


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show(rows: list[dict]) -> None:
    """Prints the table. × speed is a peer's median over pft's, × memory pft's peak over the peer's;
    in pft's own rows the peer is the fastest of them."""
    table = [HEADER, *lines(rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADER))]
    for line in table:
        cells = [cell.ljust(width) if column < 3 else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(line, widths, strict=True))]
        print("  ".join(cells).rstrip())
