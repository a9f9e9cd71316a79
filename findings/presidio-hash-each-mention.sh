#!/usr/bin/env bash
# presidio-anonymizer 2.2.366: the hash operator gives one name three hashes.
#
# Expected: a hash stands for its text: the same name has the same hash, at least within one call.
# Seen:     without a salt of one's own, each mention is salted anew: three mentions of a name become three
#   different hashes. With `salt` in the operator's settings they are one.
# Matters:  hashes cannot be used to link the mentions of a person, which is what they are chosen for.
# Ran with: presidio-anonymizer 2.2.366, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check presidio-anonymizer==2.2.366

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
from presidio_anonymizer import AnonymizerEngine
from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

name, text = "Anna Schmidt", "Anna Schmidt, Anna Schmidt, Anna Schmidt"
found = [RecognizerResult("PERSON", start, start + len(name), 0.85) for start in (0, 14, 28)]
hashes = lambda settings: set(AnonymizerEngine().anonymize(text, found, {"PERSON": OperatorConfig("hash", settings)}).text.split(", "))
alone, salted = hashes({}), hashes({"salt": "sixteen bytes or more"})
print("presidio-anonymizer", version("presidio-anonymizer"), "hashes of one name:", len(alone), "with a salt:", len(salted))
assert len(alone) == 3, "they are one now"
assert len(salted) == 1
PYTHON
