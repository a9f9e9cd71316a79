#!/usr/bin/env bash
# peft 0.21.2: merging an adapter of a tied head changes what the model says.
#
# Expected: `merge_and_unload()` gives the model with the adapter, up to rounding, or refuses.
# Seen:     LoRA on `lm_head` of GPT-2, whose head and embeddings are one tensor: the adapter acted on the
#   head alone, the merge adds it to both, and logits move by several units (a warning is all).
# Matters:  the merged model that is evaluated, quantized or published is not the one that was trained.
# Ran with: peft 0.21.2, transformers 5.24.0, torch 2.9.1 (its default build, on the CPU), Python 3.11. Takes
#   minutes, 7 GB of packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 transformers==5.24.0 peft==0.21.2

venv/bin/python - <<'PYTHON'
import peft
import torch
from transformers import GPT2Config, GPT2LMHeadModel


def moved(module):
    torch.manual_seed(0)
    base = GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=100, n_positions=32))
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=[module], init_lora_weights=False)).eval()
    ids = torch.arange(10)[None]
    with torch.no_grad():
        before = model(ids).logits
        return (model.merge_and_unload()(ids).logits - before).abs().max().item()


head, attention = moved("lm_head"), moved("c_attn")
print("peft", peft.__version__, f"largest change of a logit by merging: lm_head {head:.3f}, c_attn {attention:.1e}")
assert head > 0.1, "the merge is right now"
assert attention < 1e-4
PYTHON
