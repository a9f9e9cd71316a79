"""Makes ../fixtures/ingest/csv-strict.json: what Python's csv module, with strict=True, reads from random
short texts, and which it refuses. Needs nothing beyond the standard library.

    python csv_strict.py
"""

import csv
import io
import json
import pathlib
import random

DIALECTS = [
    {"separator": ",", "quote": '"', "escape": None},
    {"separator": "\t", "quote": '"', "escape": None},
    {"separator": ",", "quote": '"', "escape": "\\"},
    {"separator": "\t", "quote": None, "escape": None},
    {"separator": ",", "quote": None, "escape": "\\"},
    {"separator": ";", "quote": "'", "escape": None},
]


def read(text, dialect):
    """The records that are not blank lines, or None where the reader refuses."""
    quoting = csv.QUOTE_MINIMAL if dialect["quote"] else csv.QUOTE_NONE
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=dialect["separator"],
        quotechar=dialect["quote"],
        escapechar=dialect["escape"],
        quoting=quoting,
        strict=True,
    )
    try:
        return [record for record in reader if record]
    except csv.Error:
        return None


def main():
    rng = random.Random(7)
    cases = []
    seen = set()
    while len(cases) < 1800:
        dialect = DIALECTS[len(cases) % len(DIALECTS)]
        quote = dialect["quote"] or '"'
        separator = dialect["separator"]
        signs = [quote, quote, quote + quote, separator, separator, "\n", "\r\n", "\\", "a", " ", "é"]
        # Well-formed pieces, so that long texts are not all refused.
        signs += [f"{separator}{quote}b{quote * 2}{quote}{separator}", f"{quote}c\n{quote}\n"]
        text = "".join(rng.choice(signs) for _ in range(rng.randint(1, 12)))
        key = (len(cases) % len(DIALECTS), text)
        if key in seen:
            continue
        seen.add(key)
        cases.append({"dialect": key[0], "text": text, "records": read(text, dialect)})
    out = pathlib.Path(__file__).parent / "../fixtures/ingest/csv-strict.json"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    dialects = json.dumps(DIALECTS)
    out.write_text(f'{{"dialects": {dialects}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    read_ones = sum(case["records"] is not None for case in cases)
    print(f"{len(cases)} texts, of which {read_ones} are read")


if __name__ == "__main__":
    main()
