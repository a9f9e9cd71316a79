#!/usr/bin/env bash
# opacus 1.6.0: in ghost mode two backward passes before a step count as the second alone.
#
# Expected: gradients of two backward calls add up, as in hooks mode and in PyTorch, or a second call is
#   refused.
# Seen:     without noise, one step after two halves of a batch is the step of the second half; the first
#   half's gradient is gone, without an error.
# Matters:  training loops that accumulate over micro-batches by hand see half of their data, while the
#   accountant counts all.
# Ran with: opacus 1.6.0, torch 2.9.1 (its default build, on the CPU), Python 3.11. Takes minutes, 7 GB of
#   packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 opacus==1.6.0

venv/bin/python - <<'PYTHON'
import copy
import warnings
from importlib.metadata import version
import torch
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
torch.manual_seed(0)
base, x, y = torch.nn.Linear(4, 2), torch.randn(8, 4), torch.randint(0, 2, (8,))


def update(mode, parts):
    module = copy.deepcopy(base)
    settings = dict(module=module, optimizer=torch.optim.SGD(module.parameters(), lr=1.0),
                    data_loader=DataLoader(TensorDataset(x, y), batch_size=8), noise_multiplier=0.0,
                    max_grad_norm=1.0, poisson_sampling=False, grad_sample_mode=mode)
    loss = torch.nn.CrossEntropyLoss()
    if mode == "ghost":
        model, optimizer, loss, _ = PrivacyEngine().make_private(criterion=loss, **settings)
    else:
        model, optimizer, _ = PrivacyEngine().make_private(**settings)
    optimizer.zero_grad()
    for part in parts:
        loss(model(x[part]), y[part]).backward()
    optimizer.step()
    step = torch.cat([(new - old).flatten() for new, old in zip(module.parameters(), base.parameters())])
    return step / step.norm()


first, second, all_of_it = slice(0, 4), slice(4, 8), slice(0, 8)
direction = lambda a, b: float(a @ b)
hooks = direction(update("hooks", [first, second]), update("hooks", [all_of_it]))
ghost = direction(update("ghost", [first, second]), update("ghost", [all_of_it]))
last = direction(update("ghost", [first, second]), update("ghost", [second]))
print("opacus", version("opacus"), f"cosine of two halves with the whole: hooks {hooks:.4f}, ghost {ghost:.4f}; ghost with the second half {last:.4f}")
assert hooks > 0.9999
assert last > 0.9999 and ghost < 0.99, "ghost mode adds them up now"
PYTHON
