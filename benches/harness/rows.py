"""The files of rows: target/bench/{train,tag,tokenize,runner}.json."""

import json

from .paths import OUTPUT

NAMES = ("train", "tag", "tokenize", "runner")


def read(name: str) -> list[dict]:
    path = OUTPUT / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else []


def save(name: str, rows: list[dict]) -> None:
    """Writes `rows`. Rows of other works stay, so that works can be measured one after another;
    rows of the same work go, because ratios compare what ran in turns."""
    measured = {(row["work"], row["private"]) for row in rows}
    kept = [row for row in read(name) if (row["work"], row["private"]) not in measured]
    everything = sorted(kept + rows, key=lambda row: (row["work"], row["private"]))
    OUTPUT.mkdir(parents=True, exist_ok=True)
    partial = OUTPUT / f"{name}.json.partial"
    partial.write_text(json.dumps(everything, indent=1) + "\n")
    partial.replace(OUTPUT / f"{name}.json")
