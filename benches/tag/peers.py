"""One run of a peer, in its own environment."""

import shutil
import subprocess
from functools import partial
from pathlib import Path

from benches.harness.measure import Sample, sample
from benches.harness.paths import ROOT, python
from benches.harness.process import run

from .texts import Texts


def peer(environment: str, module: str, words: list, arguments):
    """What measures the peer in `module`. Its time is in seconds, without imports and loading."""
    command = [python(environment), "-m", f"benches.tag.{module}", *words]
    return partial(_measure, command, arguments.threads)


def _measure(command: list, threads: int) -> Sample:
    # A peer may work in several processes, so the whole family's memory counts.
    done = run(command, threads, {"TOKENIZERS_PARALLELISM": "true"}, tree=True)
    taken = sample(done)
    return Sample([time / 1e3 for time in taken.times], max(taken.peak_mb, done.peak_mb),
                  taken.versions)


def checkpoint(folder: Path, shape: str, texts: Texts, interpreter: str) -> None:
    """Makes a checkpoint with random weights, which pft and transformers both load."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [interpreter, "-m", "benches.tag.make_checkpoint", folder, shape, texts]
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True)
