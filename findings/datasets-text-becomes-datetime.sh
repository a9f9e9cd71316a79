#!/usr/bin/env bash
# datasets 5.2.0: a JSON Lines column of texts that all look like dates comes back as timestamps.
#
# Expected: a JSON string stays a string.
# Seen:     `load_dataset('json')` takes its types from pyarrow, which makes timestamps of strings where every
#   one of a block reads as a date: '2004-03-12', '2004-03-12 00:00:00' and '2004-03-12T00:00:00Z' are one
#   value then. With one other text in the column all are strings.
# Matters:  columns of ids, units or short answers change type with their content, so that two texts become
#   one, and a shard of dates does not fit the others.
# Ran with: datasets 5.2.0, pyarrow 26.0.1, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1

venv/bin/python - <<'PYTHON'
import json
import datasets

datasets.disable_progress_bars()


def load(name, texts):
    with open(name, "w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    data = datasets.load_dataset("json", data_files=name, split="train", cache_dir="cache")
    return data.features["text"].dtype, data["text"][:]


dates = ["2004-03-12", "2004-03-12 00:00:00", "2004-03-12T00:00:00Z"]
dtype, values = load("dates.jsonl", dates)
mixed_dtype, mixed = load("mixed.jsonl", dates + ["no date"])
print("datasets", datasets.__version__)
print(dates, "->", dtype, values)
print(dates + ["no date"], "->", mixed_dtype, mixed)
assert dtype.startswith("timestamp") and len(set(values)) == 1, "they stay strings now"
assert mixed_dtype == "string" and mixed[:3] == dates
PYTHON
