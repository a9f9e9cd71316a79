#!/usr/bin/env bash
# gguf 0.19.0: one weight of 1e7 makes the other 31 of its Q8_0 block NaN.
#
# Expected: a value beyond the range is clipped or refused; zeros beside it stay zeros.
# Seen:     the block's scale is largest / 127 in half precision, which is infinity above 65,504: the value
#   comes back as infinity, and 0 * infinity is NaN. `quantize` returns without an error (numpy warns of an
#   overflow). 8.3e6 still works.
# Matters:  outliers of merged or diverged models: a file that was written without complaint has NaN in whole
#   blocks.
# Ran with: gguf 0.19.0, numpy 2.4.6, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check gguf==0.19.0 numpy==2.4.6

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version
import numpy
from gguf import GGMLQuantizationType, quants

warnings.filterwarnings("ignore")


def back(largest):
    block = numpy.zeros((1, 32), numpy.float32)
    block[0, 0] = largest
    kind = GGMLQuantizationType.Q8_0
    return quants.dequantize(quants.quantize(block, kind), kind)[0]


high, lower = back(1e7), back(8.3e6)
print("gguf", version("gguf"), "1e7 and zeros:", high[:3], "8.3e6 and zeros:", lower[:3])
assert numpy.isinf(high[0]) and numpy.isnan(high[1:]).all(), "it is clipped or refused now"
assert numpy.isfinite(lower).all() and not lower[1:].any()
PYTHON
