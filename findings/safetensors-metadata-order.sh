#!/usr/bin/env bash
# safetensors 0.8.0: the same save with two metadata entries gives other bytes from call to call.
#
# Expected: the header is written in a fixed order, so that a file's hash follows from what it holds.
# Seen:     50 saves of one tensor with three metadata entries give up to 6 different files in one process;
#   with one entry always the same.
# Matters:  content-addressed stores, signatures and reproducible releases: put one entry in the metadata, or
#   hash tensors instead of files.
# Ran with: safetensors 0.8.0, numpy 2.4.6, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import numpy
import safetensors
from safetensors.numpy import save

tensors = {"weight": numpy.zeros(2, numpy.float32)}
three = {save(tensors, metadata={"format": "pt", "step": "10", "base": "none"}) for _ in range(50)}
one = {save(tensors, metadata={"format": "pt"}) for _ in range(50)}
print("safetensors", safetensors.__version__)
print("different files of 50 saves: three entries", len(three), "one entry", len(one))
assert len(three) > 1, "the header's order is fixed now"
assert len(one) == 1
PYTHON
