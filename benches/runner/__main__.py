"""Times a run of pipelines/echr-compare.yml that finds everything made, beside Snakemake.

    python3 -m benches.runner

Before that, the pipeline runs once in a store of the bench, on few documents for one step each.
"""

import subprocess
from functools import partial
from pathlib import Path

from benches.harness import machine, options
from benches.harness.bench import measure
from benches.harness.measure import Sample, System
from benches.harness.paths import BINARIES, OUTPUT, ROOT, SMOLLM2, python
from benches.harness.process import run

FOLDER = OUTPUT / "runner"
PIPELINE = ROOT / "pipelines/echr-compare.yml"
RUNS = ("echr-undefended", "echr-scrubbed", "echr-dp8")
SMALL = {
    "cases.synthetic.units": 20,
    "model.max_steps": 1,
    "model.samples": "{prompts: [], max_new_tokens: 1}",
    "model.evaluation": "{max_examples: 2, max_train_examples: 2}",
}


def main() -> None:
    arguments = options.parse(__doc__, ["cached"], steps=5, rounds=3)
    if not SMOLLM2.exists():
        raise SystemExit(f"no {SMOLLM2}: run `make models`")
    settings = [f"--set={one}/{key}={value}" for one in RUNS for key, value in SMALL.items()]
    own = [BINARIES / "pft-pipeline", "run", PIPELINE, "--store", FOLDER / "store", *settings]
    snakemake = [str(Path(python("runner")).with_name("snakemake")), "--cores", arguments.threads,
                 "--snakefile", ROOT / "benches/runner/Snakefile", "--directory",
                 FOLDER / "snakemake"]
    if not arguments.list:
        for command in (own, snakemake):
            fill(command)
    measure("runner", [
        System("cached", "pft", partial(again, own, machine.pft(), arguments), unit="s"),
        System("cached", "Snakemake", partial(again, snakemake, versions(), arguments), unit="s"),
    ], arguments)


def fill(command: list) -> None:
    """Makes everything, so that a further run finds it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")


def again(command: list, version: dict, arguments) -> Sample:
    """Whole processes, from the command line to the exit."""
    done = [run(command, arguments.threads) for _ in range(arguments.steps)]
    return Sample([one.seconds for one in done], max(one.peak_mb for one in done), version)


def versions() -> dict:
    program = Path(python("runner")).with_name("snakemake")
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    except OSError as error:
        raise SystemExit(f"{program}: {error}; `make bench-runner` installs it") from error
    return {"snakemake": said.strip()}


if __name__ == "__main__":
    main()
