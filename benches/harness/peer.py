"""The end of a measurement that a peer's process makes: one JSON object, its last line."""

import json
import sys
import time
from importlib import metadata


def timed(work, steps: int) -> list[float]:
    """Milliseconds of `steps` calls of `work`, after an untimed one."""
    work()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def finish(steps_ms: list[float], *packages: str, other_versions: dict | None = None) -> None:
    """Prints what was measured, with the peak memory so far and the packages' versions."""
    versions = {package: metadata.version(package) for package in packages}
    versions |= {"python": sys.version.split()[0]} | (other_versions or {})
    print(json.dumps({
        "steps_ms": steps_ms, "peak_rss_mb": peak_mb(), "versions": versions,
    }))


def peak_mb() -> float:
    """The most memory that this process has held."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
