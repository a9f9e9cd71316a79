#!/usr/bin/env bash
# transformers 5.24.0: with left padding the first token of a text is scored, predicted from a pad.
#
# Expected: padding, mask and labels of −100 on pads change no text's loss.
# Seen:     a LLaMA row of four tokens has the same loss alone and padded on the right, and another one padded
#   on the left, even with right position ids: the shifted labels keep the first real token, whose logits come
#   from the last pad.
# Matters:  evaluation with the padding side that generation needs: per-text losses and perplexities are off,
#   most for short texts, and membership scores with them.
# Ran with: transformers 5.24.0, torch 2.9.1 (its default build, on the CPU), Python 3.11. Takes minutes, 7 GB
#   of packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 transformers==5.24.0

venv/bin/python - <<'PYTHON'
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                                     num_attention_heads=2, vocab_size=100)).eval()


def loss(ids, mask):
    ids, mask = torch.tensor([ids]), torch.tensor([mask])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    labels = ids.masked_fill(mask == 0, -100)
    return model(input_ids=ids, attention_mask=mask, position_ids=positions, labels=labels).loss.item()


alone = loss([5, 6, 7, 8], [1, 1, 1, 1])
right = loss([5, 6, 7, 8, 0, 0], [1, 1, 1, 1, 0, 0])
left = loss([0, 0, 5, 6, 7, 8], [0, 0, 1, 1, 1, 1])
print("transformers", transformers.__version__, f"alone {alone:.4f}, right {right:.4f}, left {left:.4f}")
assert abs(alone - right) < 1e-5
assert abs(alone - left) > 1e-3, "the first token is left out now"
PYTHON
