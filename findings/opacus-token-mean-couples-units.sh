#!/usr/bin/env bash
# opacus 1.6.0 with transformers: a sample's gradient before clipping depends on its batch mates.
#
# Expected: per-sample gradients are each sample's own, so that removing one moves the clipped sum by at most
#   C.
# Seen:     the loss of a causal model is a mean over the batch's tokens. The same text has gradient norm 1.47
#   beside a long text and 3.43 beside a short one: each sample is scaled by the others' lengths before it is
#   clipped, and removing one unit changes what all others contribute.
# Matters:  the proof of DP-SGD needs the per-sample loss in isolation: divide by a public constant, or sum
#   each row's own mean.
# Ran with: opacus 1.6.0, transformers 5.24.0, torch 2.9.1 (its default build, on the CPU), Python 3.11. Takes
#   minutes, 7 GB of packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 transformers==5.24.0 opacus==1.6.0

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version
import torch
from opacus import GradSampleModule
from transformers import LlamaConfig, LlamaForCausalLM

warnings.filterwarnings("ignore")
torch.manual_seed(0)
model = GradSampleModule(LlamaForCausalLM(LlamaConfig(
    hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)), strict=False)
ids = torch.randint(1, 50, (3, 12))
labels = ids.clone()
labels[1:, 4:] = -100  # Row 0 is long, rows 1 and 2 are short.


def norm_of_row_1(rows):
    for parameter in model.parameters():
        parameter.grad_sample = None
    positions = torch.arange(12).expand(len(rows), 12)
    model(input_ids=ids[rows], labels=labels[rows], position_ids=positions).loss.backward()
    samples = [p.grad_sample.reshape(len(rows), -1) for p in model.parameters() if p.grad_sample is not None]
    return torch.cat(samples, 1)[rows.index(1)].norm().item()


with_long, with_short = norm_of_row_1([0, 1]), norm_of_row_1([1, 2])
print("opacus", version("opacus"), f"norm of one text's gradient: beside a long text {with_long:.3f}, beside a short one {with_short:.3f}")
assert with_short > 1.5 * with_long, "the norm is the text's own now"
PYTHON
