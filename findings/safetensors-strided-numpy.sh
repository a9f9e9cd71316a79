#!/usr/bin/env bash
# safetensors 0.8.0: a transposed numpy array is saved in the order of its memory.
#
# Expected: `save` writes the array's values in row-major order, or refuses what is not contiguous, as the
#   torch side does.
# Seen:     memory order goes under the array's shape: [[0, 3], [1, 4], [2, 5]] comes back as [[0, 1], [2, 3],
#   [4, 5]], and [0, 2, 4, 6] (every second of eight) as [0, 1, 2, 3]. No error, no warning. 0.7.0 writes the
#   right values.
# Matters:  weights that a converter transposes with `.T` (GPT-2's Conv1D, exports from TensorFlow) are wrong
#   in the file, and nothing later can tell.
# Ran with: safetensors 0.8.0 and 0.7.0, numpy 2.4.6, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
"${PYTHON:-python3}" -m venv older
older/bin/pip install --quiet --disable-pip-version-check safetensors==0.7.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import numpy
import safetensors
from safetensors.numpy import load, save

transposed = numpy.arange(6, dtype=numpy.float32).reshape(2, 3).T
second = numpy.arange(8, dtype=numpy.float32)[::2]
back = load(save({"transposed": transposed, "second": second}))
print("safetensors", safetensors.__version__)
print("saved ", transposed.tolist(), second.tolist())
print("loaded", back["transposed"].tolist(), back["second"].tolist())
assert back["transposed"].tolist() == [[0, 1], [2, 3], [4, 5]], "the values are right now"
assert back["second"].tolist() == [0, 1, 2, 3]
PYTHON

older/bin/python - <<'PYTHON'
import numpy
from safetensors.numpy import load, save

transposed = numpy.arange(6, dtype=numpy.float32).reshape(2, 3).T
back = load(save({"transposed": transposed}))["transposed"]
print("safetensors 0.7.0 loaded", back.tolist())
assert back.tolist() == transposed.tolist()
PYTHON
