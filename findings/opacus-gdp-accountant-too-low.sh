#!/usr/bin/env bash
# opacus 1.6.0: the accountant 'gdp' says ε 1.84 where 2.12 is the true value, and cannot calibrate.
#
# Expected: an accountant gives an upper bound of what was spent; the choice between them is one of tightness.
# Seen:     sampling rate 0.01, σ 1, 1000 steps, δ 1e-6: gdp 1.836, below the exact 2.1245 (dp-accounting's
#   PLD, pessimistic and optimistic to three digits); prv 2.135, rdp 2.437. At ε 8
#   `get_noise_multiplier(accountant='gdp')` raises, while rdp and prv find 0.616 and 0.587.
# Matters:  an ε from this accountant is an approximation of a limit, and no guarantee.
# Ran with: opacus 1.6.0, dp-accounting 0.6.0, torch 2.9.1 (its default build, on the CPU), Python 3.11. Takes
#   minutes, 7 GB of packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 opacus==1.6.0 dp-accounting==0.6.0

venv/bin/python - <<'PYTHON'
import warnings
from importlib.metadata import version
import dp_accounting
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
from opacus.accountants import create_accountant
from opacus.accountants.utils import get_noise_multiplier

warnings.filterwarnings("ignore")
exact = PLDAccountant()
exact.compose(dp_accounting.SelfComposedDpEvent(
    dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.0)), 1000))
exact = exact.get_epsilon(1e-6)
spent, noise = {}, {}
for name in ("gdp", "prv", "rdp"):
    accountant = create_accountant(name)
    for _ in range(1000):
        accountant.step(noise_multiplier=1.0, sample_rate=0.01)
    spent[name] = round(float(accountant.get_epsilon(1e-6)), 4)
    try:
        noise[name] = round(get_noise_multiplier(
            target_epsilon=8, target_delta=1e-5, sample_rate=0.01, steps=1000, accountant=name), 4)
    except ValueError as error:
        noise[name] = f"ValueError: {error}"
print("opacus", version("opacus"), "spent:", spent, f"exact {exact:.4f}; noise for epsilon 8:", noise)
assert spent["gdp"] < exact - 0.2, "it is a bound now"
assert exact < spent["prv"] < spent["rdp"]
assert noise["gdp"].startswith("ValueError")
PYTHON
