"""Runs one measurement as a process of its own."""

import itertools
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .paths import OUTPUT, ROOT

# glibc then keeps freed memory, so that no step pays for fresh pages again.
KEPT_PAGES = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "67108864",
}

_NUMBERS = itertools.count(1)

# What would change a measurement if it were set where the bench is started.
UNWANTED = ("MALLOC_", "OMP_", "MKL_", "PFT_CACHE_DIR", "PFT_TAG_CACHE", "PFT_STORE", "RUST_LOG", "RAYON_")


class Failed(Exception):
    """A process that did not do its work."""


@dataclass
class Run:
    """What a process did. `peak_mb` counts its children only where they were watched;
    `processor_seconds` is on all processors, for it and the children that it waited for."""

    seconds: float
    processor_seconds: float
    peak_mb: float
    stdout: str


def run(command: list, threads: int, environment: dict | None = None, tree: bool = False) -> Run:
    """Runs `command` on the first `threads` processors, from the project's root.

    The peak is the kernel's own figure for the process. With `tree`, the memory of the process and
    its children together is looked at every 50 ms as well (pages that they share count once), and
    the larger figure is taken.
    """
    command = [str(part) for part in command]
    processors = sorted(os.sched_getaffinity(0))[:threads]
    log = OUTPUT / "log" / f"{Path(command[0]).name}-{os.getpid()}-{next(_NUMBERS)}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(threads) | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, processors),
        )
        watch = _Watch(process.pid) if tree else None
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss / 1024
    if watch:
        peak = max(peak, watch.stop())
    if process.returncode != 0:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-3:]
        raise Failed(f"exit {process.returncode} ({log}): " + " | ".join(last))
    log.unlink()
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak, stdout)


def _environment(threads: int) -> dict:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(UNWANTED)}
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return kept | dict.fromkeys(names, str(threads)) | offline


class _Watch:
    """The largest memory of a process and its children, seen from outside."""

    def __init__(self, pid: int):
        self.pid, self.peak, self.done = pid, 0.0, threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self):
        while not self.done.wait(0.05):
            self.peak = max(self.peak, sum(map(_resident_mb, _family(self.pid))))

    def stop(self) -> float:
        self.done.set()
        self.thread.join()
        return self.peak


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                children = Path(f"/proc/{parent}/task/{task}/children").read_text()
                found.extend(map(int, children.split()))
        except OSError:
            continue
    return found


def _resident_mb(pid: int) -> float:
    """Resident memory, where a page that n processes share counts 1/n for each."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0
