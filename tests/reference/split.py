"""Writes tests/fixtures/ingest: LLM-PFT's order as CPython makes it, and files as pyarrow makes them.

Run from the root of the checkout with the packages of tests/reference/requirements.txt and pyarrow.
"""

import hashlib
import json
import pathlib
import random

import pyarrow
import pyarrow.parquet

FOLDER = pathlib.Path("tests/fixtures/ingest")

# First 16 digits of SHA-256 of the comma-joined order, published with LLM-PFT's inventory.
PUBLISHED = {
    20: "ece9621fd3d4ec9c",
    1000: "01cff3f85c3f06bd",
    250_000: "13c7b5d94eff2a48",
    262_000: "a6cd45230bd23ecc",
}


def order(count: int) -> list[int]:
    indices = list(range(max(250_000, count)))
    random.Random(42).shuffle(indices)
    return [index for index in indices if index < count]


def fnv1a(numbers: list[int]) -> str:
    """64-bit FNV-1a over the numbers as little-endian 32-bit words."""
    value = 0xCBF29CE484222325
    for number in numbers:
        for byte in number.to_bytes(4, "little"):
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def write_orders() -> None:
    cases = []
    for count, published in PUBLISHED.items():
        indices = order(count)
        digest = hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()[:16]
        assert digest == published, (count, digest)
        cases.append(
            {
                "count": count,
                "first": indices[:10],
                "fnv1a": fnv1a(indices),
                "train_end": int(count * 0.45),
                "test_end": int(count * 0.55),
            }
        )
    # Counts at which binary rounding of count * 0.45 or count * 0.55 matters.
    borders = [[n, int(n * 0.45), int(n * 0.55)] for n in range(0, 2001)]
    (FOLDER / "llm-pft-order.json").write_text(json.dumps({"cases": cases, "borders": borders}) + "\n")


def write_parquet() -> None:
    table = pyarrow.table(
        {
            "case_id": pyarrow.array(["001-1", "001-2"], pyarrow.large_string()),
            "facts": [["The applicant was born in 1950.", "She lives in Ålesund."], ["Only one."]],
            "labels": [[1], [2, 3]],
        }
    )
    pyarrow.parquet.write_table(table, FOLDER / "ecthr.parquet")
    table = pyarrow.table(
        {
            "id": pyarrow.array(range(5000), pyarrow.int64()),
            "author": pyarrow.array([f"a{i % 7}" for i in range(5000)]).dictionary_encode(),
            "text": [f"Text number {i} — naïve" for i in range(5000)],
        }
    )
    pyarrow.parquet.write_table(table, FOLDER / "rows.parquet", row_group_size=700)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_orders()
    write_parquet()
