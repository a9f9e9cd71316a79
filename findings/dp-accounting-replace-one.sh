#!/usr/bin/env bash
# dp-accounting 0.6.0: ε for replacing a unit is 1.5 times that for adding one, not twice, and 'special' is no
# third.
#
# Expected: two neighbours by replacement are two steps of add-or-remove apart, so ε doubles; replacing by a
#   special record costs something between.
# Seen:     sampling rate 0.01, σ 1, 1000 steps, δ 1e-6: ADD_OR_REMOVE_ONE 2.1245, REPLACE_ONE 3.2142,
#   REPLACE_SPECIAL 2.1245.
# Matters:  papers and libraries that state one ε without the relation: the same run is 2.12 or 3.21.
# Ran with: dp-accounting 0.6.0, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dp-accounting==0.6.0

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
import dp_accounting
from dp_accounting.pld.pld_privacy_accountant import PLDAccountant

event = dp_accounting.SelfComposedDpEvent(
    dp_accounting.PoissonSampledDpEvent(0.01, dp_accounting.GaussianDpEvent(1.0)), 1000)
epsilons = {}
for relation in dp_accounting.NeighboringRelation:
    accountant = PLDAccountant(relation)
    accountant.compose(event)
    epsilons[relation.name] = round(accountant.get_epsilon(1e-6), 4)
print("dp-accounting", version("dp-accounting"), epsilons)
assert abs(epsilons["ADD_OR_REMOVE_ONE"] - 2.1245) < 1e-3
assert abs(epsilons["REPLACE_ONE"] - 3.2142) < 1e-3
assert epsilons["REPLACE_SPECIAL"] == epsilons["ADD_OR_REMOVE_ONE"]
PYTHON
