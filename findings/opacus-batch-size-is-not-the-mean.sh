#!/usr/bin/env bash
# opacus 1.6.0: batch_size 64 of 100 samples makes Poisson batches of 50 on average.
#
# Expected: the sampling rate is batch_size / N, so that the mean batch is the size that was asked for.
# Seen:     the rate is one over the number of batches: 1/ceil(N / batch_size). 64 of 100 gives 0.5 and a
#   divisor of 50; 7 of 1000 gives a mean of 6.99 and, rounded down, a divisor of 6, so that updates are a
#   sixth too large.
# Matters:  learning rates and comparisons at equal batch size; the accountant must be given the rate that
#   runs, not batch_size / N.
# Ran with: opacus 1.6.0, torch 2.9.1 (its default build, on the CPU), Python 3.11. Takes minutes, 7 GB of
#   packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 opacus==1.6.0

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version
import torch
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
found = {}
for samples, batch_size in [(100, 64), (1000, 7), (100, 50)]:
    module = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.randn(samples, 4)), batch_size=batch_size)
    _, optimizer, loader = PrivacyEngine().make_private(
        module=module, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0)
    mean = samples * loader.sample_rate
    found[samples, batch_size] = (round(mean, 2), optimizer.expected_batch_size)
    print("opacus", version("opacus"), f"{samples} samples, batch_size {batch_size}: mean batch {mean:.2f}, divisor", optimizer.expected_batch_size)
assert found == {(100, 64): (50.0, 50), (1000, 7): (6.99, 6), (100, 50): (50.0, 50)}
PYTHON
