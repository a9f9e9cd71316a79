#!/usr/bin/env bash
# datasets 5.2.0: the first Parquet file fixes the types of all, so the order of files decides what ids are.
#
# Expected: files of one data set with int64 ids and string ids are refused, or read the same in either order.
# Seen:     strings first: the integers of the second file become strings, silently. Integers first: the load
#   fails at the first id that is no number.
# Matters:  shards of ids like '007' and 7 written by different jobs: the same folder loads or not by its file
#   names, and 7 and '007' are never one.
# Ran with: datasets 5.2.0, pyarrow 26.0.1, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1

venv/bin/python - <<'PYTHON'
import datasets
import pyarrow
import pyarrow.parquet

datasets.disable_progress_bars()
pyarrow.parquet.write_table(pyarrow.table({"id": pyarrow.array([1, 2])}), "numbers.parquet")
pyarrow.parquet.write_table(pyarrow.table({"id": pyarrow.array(["007", "x1"])}), "strings.parquet")


def load(*files):
    try:
        return datasets.load_dataset("parquet", data_files=list(files), split="train", cache_dir=files[0] + ".cache")["id"][:]
    except datasets.exceptions.DatasetGenerationError as error:
        return f"fails: {error.__cause__}"


first, second = load("strings.parquet", "numbers.parquet"), load("numbers.parquet", "strings.parquet")
print("datasets", datasets.__version__)
print("strings first:", first)
print("numbers first:", second)
assert first == ["007", "x1", "1", "2"]
assert second.startswith("fails:")
PYTHON
