#!/usr/bin/env bash
# datasets 5.2.0: one turn whose content is a list makes the other turns' texts into JSON values.
#
# Expected: in `messages`, a content that is a string stays a string where another row's content is a list of
#   parts.
# Seen:     the column becomes `Json`, and each string that parses as JSON becomes its value: '12' the number
#   12, '007' 7, 'true' True, 'null' None. 'hello' stays.
# Matters:  chat corpora of text and image turns: answers that are numbers, codes or the word null change type
#   or vanish, and a chat template prints something else or fails.
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
texts = ["12", "007", "true", "null", "hello"]
turns = [{"role": "user", "content": text} for text in texts]
parts = [{"role": "user", "content": [{"type": "text", "text": "look"}]}]


def load(name, rows):
    with open(name, "w") as file:
        file.writelines(json.dumps({"messages": row}) + "\n" for row in rows)
    data = datasets.load_dataset("json", data_files=name, split="train", cache_dir="cache")
    return [turn["content"] for turn in data[0]["messages"]]


alone, beside = load("alone.jsonl", [turns]), load("beside.jsonl", [turns, parts])
print("datasets", datasets.__version__)
print("alone:             ", alone)
print("beside a list turn:", beside)
assert alone == texts
assert beside == [12, 7, True, None, "hello"], "they stay strings now"
PYTHON
