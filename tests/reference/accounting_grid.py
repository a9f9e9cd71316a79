"""Makes tests/fixtures/accounting/{grid,replace_one}.csv: bounds on epsilon by dp-accounting.

`grid.csv` goes from next to no noise to a lot of it. `optimistic` is a true lower bound (losses are
rounded down), `pessimistic` a true upper bound; where there is little noise the two are far apart, since
the grid of losses has to be coarse. Needs dp-accounting alone. Run from the repository root:
python tests/reference/accounting_grid.py
"""

import csv
import pathlib

import dp_accounting
from dp_accounting import dp_event, pld
from dp_accounting.pld import privacy_loss_distribution as distribution

FOLDER = pathlib.Path("tests/fixtures/accounting")

SIGMA = [0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0]
RATE = [0.001, 0.01, 0.13, 0.5, 1.0]
STEPS = [1, 10, 100, 1000]
DELTA = [1e-12, 1e-7, 1e-5, 1e-3, 1e-2]

# (q, sigma, steps, delta)
REPLACE_ONE = [
    (0.01, 1.0, 1000, 1e-6),
    (0.001, 0.6, 1000, 1e-5),
    (0.02, 2.0, 5000, 1e-7),
    (0.05, 0.5, 100, 1e-6),
    (0.1, 1.0, 50, 1e-5),
    (0.25, 3.0, 100, 1e-5),
    (0.5, 3.0, 50, 1e-5),
    (1.0, 1.0, 1, 1e-5),
    (1.0, 5.0, 10, 1e-5),
    (0.3, 0.3, 10, 1e-3),
]


def width(sigma):
    """A width on which one step's losses take some thousand points."""
    return max(1e-4, (0.5 / sigma**2 + 9 / sigma) / 3000)


def composed(q, sigma, steps, pessimistic):
    one = distribution.from_gaussian_mechanism(
        sigma,
        pessimistic_estimate=pessimistic,
        value_discretization_interval=width(sigma),
        sampling_prob=q,
        use_connect_dots=pessimistic,
    )
    return one.self_compose(steps)


def write(name, header, rows):
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / name, "w", newline="") as file:
        file.write("# made by tests/reference/accounting_grid.py with dp-accounting 0.6.0\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main():
    rows = []
    relation = dp_accounting.NeighboringRelation.REPLACE_ONE
    for q, sigma, steps, delta in REPLACE_ONE:
        step = dp_event.PoissonSampledDpEvent(q, dp_event.GaussianDpEvent(sigma))
        accountant = pld.PLDAccountant(relation).compose(dp_event.SelfComposedDpEvent(step, steps))
        rows.append([q, sigma, steps, delta, f"{accountant.get_epsilon(delta):.9g}"])
    write("replace_one.csv", ["q", "sigma", "steps", "delta", "pld"], rows)

    rows = []
    for sigma in SIGMA:
        for q in RATE:
            for steps in STEPS:
                low, high = (composed(q, sigma, steps, side) for side in (False, True))
                for delta in DELTA:
                    bounds = (low.get_epsilon_for_delta(delta), high.get_epsilon_for_delta(delta))
                    rows.append([q, sigma, steps, delta] + [f"{bound:.9g}" for bound in bounds])
    write("grid.csv", ["q", "sigma", "steps", "delta", "optimistic", "pessimistic"], rows)


if __name__ == "__main__":
    main()
