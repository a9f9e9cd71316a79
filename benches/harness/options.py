"""The command line that all benches share."""

import argparse
import os


def parse(description: str, works: list[str], **defaults) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--works", nargs="+", choices=works, default=works, metavar="WORK",
                        help=f"what to measure, of {', '.join(works)}")
    parser.add_argument("--systems", nargs="+", metavar="TEXT",
                        help="only systems whose name contains one of these texts")
    parser.add_argument("--only", choices=("plain", "private"),
                        help="only training without privacy, or with it")
    parser.add_argument("--rounds", type=int, default=defaults.get("rounds", 3),
                        help="how often the row of systems is run through")
    parser.add_argument("--steps", type=int, default=defaults.get("steps", 3),
                        help="timed repetitions in one process, after an untimed one")
    parser.add_argument("--documents", type=int, default=defaults.get("documents"),
                        help="judgments to work on")
    parser.add_argument("--threads", type=int, default=2, help="threads and processors of a system")
    parser.add_argument("--list", action="store_true", help="name the systems and stop")
    arguments = parser.parse_args()
    if arguments.threads > len(os.sched_getaffinity(0)):
        parser.error(f"--threads {arguments.threads}: this process may use "
                     f"{len(os.sched_getaffinity(0))} processors only")
    return arguments
