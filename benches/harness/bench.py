"""What every bench's main does with its systems."""

import argparse

from . import rows, table
from .measure import System, label, rounds


def measure(name: str, systems: list[System], arguments: argparse.Namespace) -> None:
    """Measures the chosen systems turn by turn; keeps the rows and shows their ratios."""
    chosen = [system for system in systems
              if (not arguments.systems
                  or any(wanted in system.name for wanted in arguments.systems))
              and arguments.only in (None, "private" if system.private else "plain")]
    if arguments.list:
        for system in chosen:
            print(f"{system.work}: {label(system)}")
        return
    for turn in dict.fromkeys(system.turn for system in chosen):
        print(f"{name}: {turn}", flush=True)
        made = rounds([system for system in chosen if system.turn == turn], arguments.rounds)
        # After every turn, so that a bench that is stopped keeps what it has.
        rows.save(name, made)
        table.show(made)
