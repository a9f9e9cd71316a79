#!/usr/bin/env bash
# dp-accounting 0.6.0: cutting Poisson batches at their mean makes ε six times as large.
#
# Expected: a cap on the batch size, which only makes noise smaller in relation, is a detail of the
#   implementation.
# Seen:     with sampling rate 0.01, σ 1, 1000 steps and δ 1e-6 plain Poisson sampling has ε 2.12. With
#   batches cut to a maximum it is 2.13 where the maximum is five standard deviations above the mean batch of
#   1000, 4.8 at three, and 13 at the mean.
# Matters:  loaders with a fixed physical batch that drop what is over, and claims made for uncut sampling.
#   The event for it is TruncatedSubsampledGaussianDpEvent.
# Ran with: dp-accounting 0.6.0, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dp-accounting==0.6.0

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
import math
import dp_accounting
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant

rate, noise, steps, delta, units = 0.01, 1.0, 1000, 1e-6, 100_000


def epsilon(event):
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(dp_accounting.SelfComposedDpEvent(event, steps))
    return accountant.get_epsilon(delta)


deviation = math.sqrt(units * rate * (1 - rate))
uncut = epsilon(dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(noise)))
cut = {deviations: epsilon(dp_accounting.TruncatedSubsampledGaussianDpEvent(
    units, rate, int(units * rate + deviations * deviation), noise)) for deviations in (0, 3, 5)}
print("dp-accounting", version("dp-accounting"), f"uncut {uncut:.4f}",
      {f"mean + {deviations} deviations": round(value, 4) for deviations, value in cut.items()})
assert abs(uncut - 2.1245) < 1e-3
assert abs(cut[5] - 2.1293) < 5e-3 and abs(cut[3] - 4.8147) < 5e-2 and abs(cut[0] - 13.009) < 0.1
PYTHON
