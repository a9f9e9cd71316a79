#!/usr/bin/env bash
# transformers 4.57.6 reads a config.json of 5.24.0 with rope_theta 10000, whatever it says.
#
# Expected: the base of the rotary embedding survives, or the older version refuses a key that it does not
#   know.
# Seen:     5.24.0 writes `rope_parameters: {rope_theta: 500000}` alone; 4.57.6 keeps that key and computes
#   with its default 10000 for LLaMA, Mistral, Qwen2, Qwen3, OLMo 2, Cohere, Gemma, Phi and GPT-NeoX. No
#   warning.
# Matters:  a model that was saved with the newer library generates worse and worse text with length in a
#   service that runs the older one. Write the top-level `rope_theta` as well.
# Ran with: transformers 5.24.0 and 4.57.6, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0
"${PYTHON:-python3}" -m venv older
older/bin/pip install --quiet --disable-pip-version-check transformers==4.57.6

venv/bin/python - <<'PYTHON'
import json
import transformers

common = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              rope_parameters={"rope_theta": 500000.0, "rope_type": "default"})
for name in ["Llama", "Mistral", "Qwen2", "Qwen3", "Olmo2", "Cohere", "Gemma", "Phi", "GPTNeoX"]:
    getattr(transformers, name + "Config")(**common).save_pretrained(name)
    written = json.load(open(name + "/config.json"))
    assert "rope_theta" not in written and "rotary_emb_base" not in written, "rope_theta is written again"
    assert written["rope_parameters"]["rope_theta"] == 500000.0
print("transformers", transformers.__version__, "wrote", {"rope_parameters": written["rope_parameters"]})
PYTHON

older/bin/python - <<'PYTHON'
import transformers
from transformers import AutoConfig

read = {}
for name in ["Llama", "Mistral", "Qwen2", "Qwen3", "Olmo2", "Cohere", "Gemma", "Phi", "GPTNeoX"]:
    read[name] = AutoConfig.from_pretrained(name).rope_theta
print("transformers", transformers.__version__, "read rope_theta", read)
assert set(read.values()) == {10000}, "rope_parameters are read now"
PYTHON
