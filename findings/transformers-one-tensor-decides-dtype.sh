#!/usr/bin/env bash
# transformers 5.24.0: without a dtype in config.json the file's first floating tensor decides for all.
#
# Expected: weights load in the type that each has in the file, or in float32, or in the one that most have.
# Seen:     a LLaMA checkpoint of float32 whose lm_head alone is bfloat16 (the first name in the file) loads
#   as bfloat16 throughout; with the final norm alone in bfloat16 it loads as float32.
# Matters:  mixed files from quantizers and mergers: all weights are rounded to eight bits of mantissa because
#   of the name of one tensor. Always write `dtype`.
# Ran with: transformers 5.24.0, torch 2.9.1 (its default build, on the CPU), safetensors 0.8.0, Python 3.11.
#   Takes minutes, 7 GB of packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 transformers==5.24.0 safetensors==0.8.0

venv/bin/python - <<'PYTHON'
import json
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

transformers.logging.set_verbosity_error()
LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                             vocab_size=100)).save_pretrained("model")
config = json.load(open("model/config.json"))
config.pop("dtype", None)
json.dump(config, open("model/config.json", "w"))
weights = load_file("model/model.safetensors")
types = {}
for name in ["lm_head.weight", "model.norm.weight"]:
    one = {key: value.to(torch.bfloat16) if key == name else value for key, value in weights.items()}
    save_file(one, "model/model.safetensors", metadata={"format": "pt"})
    types[name] = {str(parameter.dtype) for parameter in AutoModelForCausalLM.from_pretrained("model").parameters()}
print("transformers", transformers.__version__, "one bfloat16 tensor -> all of", types)
assert types == {"lm_head.weight": {"torch.bfloat16"}, "model.norm.weight": {"torch.float32"}}
PYTHON
