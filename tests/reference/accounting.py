"""Makes tests/fixtures/accounting/*.csv: epsilon by dp-accounting and Opacus.

Run from the repository root: python tests/reference/accounting.py
"""

import csv
import math
import pathlib
import warnings

import dp_accounting
from dp_accounting import dp_event, pld, rdp
from opacus.accountants import RDPAccountant
from opacus.accountants.analysis import rdp as opacus_rdp

FOLDER = pathlib.Path("tests/fixtures/accounting")

# (q, sigma, steps, delta): usual fine-tuning settings, and the edges of the range on which
# dp-accounting's own grid is still exact to 1e-4.
FORWARD = [
    (0.001, 0.6, 1000, 1e-5),
    (0.001, 1.0, 20000, 1e-6),
    (0.004, 0.8, 2000, 1e-6),
    (0.01, 0.7, 500, 1e-5),
    (0.01, 1.0, 1000, 1e-5),
    (0.01, 1.1, 10000, 1e-5),
    (0.02, 0.9, 300, 1e-6),
    (0.02, 2.0, 5000, 1e-7),
    (0.05, 1.5, 400, 1e-5),
    (0.05, 4.0, 4000, 1e-8),
    (0.1, 2.0, 200, 1e-5),
    (0.1, 1.0, 50, 1e-5),
    (0.25, 3.0, 100, 1e-5),
    (1.0, 5.0, 10, 1e-5),
    (1.0, 1.0, 1, 1e-5),
    (0.0005, 0.5, 5000, 1e-6),
    (0.001, 0.5, 1000, 1e-6),
    (0.002, 0.6, 2000, 1e-6),
    (0.005, 0.7, 2000, 1e-5),
    (0.01, 0.6, 400, 1e-5),
    (0.01, 1.5, 20000, 1e-6),
    (0.02, 1.0, 2000, 1e-6),
    (0.05, 0.8, 200, 1e-5),
    (0.05, 2.0, 1000, 1e-5),
    (0.1, 2.0, 500, 1e-6),
    (0.1, 4.0, 2000, 1e-8),
    (0.2, 3.0, 300, 1e-5),
    (0.5, 3.0, 50, 1e-5),
    (0.3, 0.8, 1, 1e-6),
    (0.01, 0.4, 10, 1e-6),
    (0.7, 10.0, 200, 1e-9),
    (0.9, 2.0, 5, 1e-4),
]

# (q, sigma, steps, delta, members of the group)
GROUPS = [
    (0.001, 1.0, 4000, 1e-6, 2),
    (0.001, 1.0, 4000, 1e-6, 4),
    (0.001, 1.0, 4000, 1e-6, 8),
    (0.01, 2.0, 1000, 1e-5, 2),
    (0.01, 2.0, 1000, 1e-5, 4),
    (0.01, 2.0, 1000, 1e-5, 10),
]

# Two phases each.
PHASES = [
    ((0.01, 1.0, 500), (0.02, 1.5, 500), 1e-5),
    ((0.001, 0.6, 1000), (0.1, 3.0, 100), 1e-6),
    # A private training on a privately trained model, as stages/train/tests/history.rs runs it.
    ((4 / 24, 0.8, 6), (6 / 24, 1.2, 4), 1e-3),
]


def accountant():
    return pld.PLDAccountant(value_discretization_interval=1e-4)


def event(q, sigma, steps):
    step = dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(sigma))
    return dp_accounting.SelfComposedDpEvent(step, steps)


def group_event(q, sigma, steps, members):
    counts = range(members + 1)
    weights = [math.comb(members, j) * q**j * (1 - q) ** (members - j) for j in counts]
    step = dp_event.MixtureOfGaussiansDpEvent(sigma, [float(j) for j in counts], weights)
    return dp_accounting.SelfComposedDpEvent(step, steps)


def opacus(q, sigma, steps, delta):
    orders = RDPAccountant.DEFAULT_ALPHAS
    values = opacus_rdp.compute_rdp(q=q, noise_multiplier=sigma, steps=steps, orders=orders)
    return opacus_rdp.get_privacy_spent(orders=orders, rdp=values, delta=delta)[0]


def write(name, header, rows):
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / name, "w", newline="") as file:
        file.write("# made by tests/reference/accounting.py; versions in requirements.txt\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main():
    warnings.simplefilter("ignore")
    rows = []
    for q, sigma, steps, delta in FORWARD:
        tight = accountant().compose(event(q, sigma, steps)).get_epsilon(delta)
        google = rdp.RdpAccountant().compose(event(q, sigma, steps)).get_epsilon(delta)
        row = (tight, google, opacus(q, sigma, steps, delta))
        rows.append([q, sigma, steps, delta] + [f"{value:.9g}" for value in row])
    write("forward.csv", ["q", "sigma", "steps", "delta", "pld", "rdp_google", "rdp_opacus"], rows)

    rows = []
    for q, sigma, steps, delta, members in GROUPS:
        tight = accountant().compose(group_event(q, sigma, steps, members)).get_epsilon(delta)
        rows.append([q, sigma, steps, delta, members, f"{tight:.9g}"])
    write("groups.csv", ["q", "sigma", "steps", "delta", "members", "pld"], rows)

    rows = []
    for first, second, delta in PHASES:
        both = accountant().compose(event(*first)).compose(event(*second))
        rows.append([*first, *second, delta, f"{both.get_epsilon(delta):.9g}"])
    header = ["q", "sigma", "steps", "q2", "sigma2", "steps2", "delta", "pld"]
    write("phases.csv", header, rows)


if __name__ == "__main__":
    main()
