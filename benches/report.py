"""Shows all rows as one table and draws target/bench/bench.svg.

    python3 -m benches.report
"""

from benches.harness import rows, table
from benches.harness.paths import OUTPUT
from benches.harness.picture import draw


def main() -> None:
    everything = [row for name in rows.NAMES for row in rows.read(name)]
    if not everything:
        raise SystemExit(f"no rows in {OUTPUT} yet: run `make bench` or one of its parts")
    table.show(everything)
    machines = sorted({row["versions"].get("machine", "") for row in everything})
    picture = OUTPUT / "bench.svg"
    picture.write_text(draw(everything, "; ".join(machines)))
    print(f"picture: {picture}")


if __name__ == "__main__":
    main()
