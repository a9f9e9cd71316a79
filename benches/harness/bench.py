"""What every bench's main does with its systems."""

import argparse

from . import rows, table
from .measure import System, label, rounds


def measure(name: str, systems: list[System], arguments: argparse.Namespace) -> None:
    """Measures the chosen systems work by work; keeps the rows and shows their ratios."""
    chosen = [system for system in systems
              if not arguments.systems
              or any(wanted in system.name for wanted in arguments.systems)]
    if arguments.list:
        for system in chosen:
            print(f"{system.work}: {label(system)}")
        return
    for work in dict.fromkeys(system.work for system in chosen):
        print(f"{name}: {work}", flush=True)
        made = rounds([system for system in chosen if system.work == work], arguments.rounds)
        # After every work, so that a bench that is stopped keeps what it has.
        rows.save(name, made)
        table.show(made)
