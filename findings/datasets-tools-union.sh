#!/usr/bin/env bash
# datasets 5.2.0: `from_list` gives each tool the parameters of all the others, as nulls.
#
# Expected: the JSON schemas of two tools come out as they went in; `load_dataset('json')` on the same rows
#   does so.
# Seen:     `Dataset.from_list` makes one struct of all `properties`: the tool with `city` also has `zone:
#   None`, and the other way round, while `load_dataset('json')` keeps them apart (type Json).
# Matters:  the tool list in a chat prompt is rendered with `tojson`: which of the two loaders was used
#   decides what the model is trained on.
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
tool = lambda name, key: {"name": name, "parameters": {"properties": {key: {"type": "string"}}}}
rows = [{"tools": [tool("weather", "city"), tool("clock", "zone")]}]
with open("tools.jsonl", "w") as file:
    file.writelines(json.dumps(row) + "\n" for row in rows)
listed = datasets.Dataset.from_list(rows)[0]
loaded = datasets.load_dataset("json", data_files="tools.jsonl", split="train", cache_dir="cache")[0]
print("datasets", datasets.__version__)
print("from_list:   ", listed["tools"][0])
print("load_dataset:", loaded["tools"][0])
assert listed["tools"][0]["parameters"]["properties"] == {"city": {"type": "string"}, "zone": None}
assert loaded == rows[0]
PYTHON
