#!/usr/bin/env bash
# fastparquet 2026.9.0: a column of lists of structs is read as nothing at all.
#
# Expected: lists of dicts, or an error for a type that it does not read.
# Seen:     every row is None, without an error or a warning; pyarrow reads the same file right.
# Matters:  spans, chat turns and tool calls are lists of structs in Parquet: with pandas'
#   `engine='fastparquet'` all rows look as if nothing was found.
# Ran with: fastparquet 2026.9.0, pandas 3.1.1, pyarrow 26.0.1, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastparquet==2026.9.0 pandas==3.1.1 pyarrow==26.0.1

venv/bin/python - <<'PYTHON'
import fastparquet
import pandas
import pyarrow
import pyarrow.parquet

span = pyarrow.struct([("start", pyarrow.int32()), ("end", pyarrow.int32()), ("label", pyarrow.string())])
spans = [[{"start": 0, "end": 4, "label": "PERSON"}, {"start": 9, "end": 12, "label": "DATE"}], []]
pyarrow.parquet.write_table(pyarrow.table({"spans": pyarrow.array(spans, pyarrow.list_(span))}), "tags.parquet")
fast = pandas.read_parquet("tags.parquet", engine="fastparquet")["spans"].tolist()
arrow = pandas.read_parquet("tags.parquet", engine="pyarrow")["spans"].tolist()
print("fastparquet", fastparquet.__version__, fast)
print("pyarrow", pyarrow.__version__, [list(row) for row in arrow])
assert fast == [None, None], "it reads them, or says that it cannot"
assert [list(row) for row in arrow] == spans
PYTHON
