#!/usr/bin/env bash
# A document without spans: `explode` keeps it in pandas and drops it in polars, where it keeps a null list.
#
# Expected: one rule for `[]` in the two libraries: both keep the row with a null, or both drop it; and
#   integers stay integers.
# Seen:     polars 2.1 drops the row of `[]` and keeps the row of null (`empty_as_null=True` keeps both).
#   pandas keeps both, and since its null is NaN, `json_normalize` turns the offsets of all spans into floats.
# Matters:  counts of documents after `explode` differ by what was found in them, and offsets such as 4.0 no
#   longer index a string.
# Ran with: polars 2.1.0, pandas 3.1.1, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check polars==2.1.0 pandas==3.1.1

venv/bin/python - <<'PYTHON'
import pandas
import polars

span = {"start": 0, "end": 4}
rows = {"id": ["tagged", "empty", "null"], "spans": [[span], [], None]}
kept = polars.DataFrame(rows).explode("spans")["id"].to_list()
asked = polars.DataFrame(rows).explode("spans", empty_as_null=True)["id"].to_list()
exploded = pandas.DataFrame(rows).explode("spans")
starts = pandas.json_normalize(exploded["spans"])["start"].dtype
print("polars", polars.__version__, kept, "with empty_as_null", asked)
print("pandas", pandas.__version__, exploded["id"].tolist(), "offsets:", starts)
assert kept == ["tagged", "null"]
assert asked == exploded["id"].tolist() == ["tagged", "empty", "null"]
assert starts == "float64"
PYTHON
