"""Runs systems in turns and makes a row of each."""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from . import machine
from .process import Failed, Run


@dataclass
class System:
    """One system at one work."""

    work: str
    name: str
    # Makes one measurement, in a process of its own, and says what that did.
    measure: Callable[[], "Sample"]
    private: bool = False
    unit: str = "ms a step"
    # What is done in one unit of time's worth of work, as in tokens of a step.
    amount: float = 0.0
    throughput_unit: str = "tokens/s"
    # Further fields of the row.
    more: dict = field(default_factory=dict)
    # Further works that the same measurement counts for.
    also: tuple[str, ...] = ()
    # Systems of one turn are run in turns with each other; the work, without it.
    turn: str = ""

    def __post_init__(self):
        self.turn = self.turn or self.work


@dataclass
class Sample:
    """One process's times, in the system's unit, and its peak memory."""

    times: list[float]
    peak_mb: float
    versions: dict = field(default_factory=dict)
    more: dict = field(default_factory=dict)
    # Of the whole process on all processors, where it was started for this alone.
    processor_seconds: float | None = None


def whole_process(run: Run) -> Sample:
    """A whole process of ours as one time, in seconds."""
    return Sample([run.seconds], run.peak_mb, machine.pft(), processor_seconds=run.processor_seconds)


def sample(run: Run) -> Sample:
    """What a process says of itself in the last line of its output."""
    try:
        said = json.loads(run.stdout.strip().splitlines()[-1])
        times, peak = said.pop("steps_ms"), said.pop("peak_rss_mb")
    except (IndexError, ValueError, KeyError) as error:
        raise Failed(f"its last line is not the JSON object awaited ({error!r})") from error
    return Sample(times, peak, said.pop("versions", None) or machine.pft(), said)


def rounds(systems: list[System], count: int) -> list[dict]:
    """Runs every system `count` times, in turns (A B A B), so that what slows the machine for a
    while slows all of them. A system that fails is named and left out."""
    samples: dict[int, list[Sample]] = {}
    failed = set()
    for number in range(count):
        for index, system in enumerate(systems):
            if index in failed:
                continue
            try:
                taken = system.measure()
            except (Failed, OSError) as error:
                failed.add(index)
                print(f"  {system.work} {label(system)}: left out: {error}", flush=True)
                continue
            samples.setdefault(index, []).append(taken)
            print(f"  {system.work} {label(system)}, round {number + 1} of {count}: "
                  f"{said(system, taken)}, {taken.peak_mb:.0f} MB", flush=True)
    return [row(work, systems[index], taken)
            for index, taken in sorted(samples.items()) if index not in failed
            for work in (systems[index].work, *systems[index].also)]


def said(system: System, taken: Sample) -> str:
    """A sample's time, and the processor's with what was done in a second of it."""
    time = f"{statistics.median(taken.times):.3g} {system.unit}"
    if not taken.processor_seconds:
        return time
    time += f", {taken.processor_seconds:.2f} s of a processor"
    if not system.amount:
        return time
    return f"{time}, {system.amount / taken.processor_seconds:.0f} {system.throughput_unit} of it"


def label(system: System) -> str:
    return system.name + (", private" if system.private else "")


def row(work: str, system: System, samples: list[Sample]) -> dict:
    times = [time for sample in samples for time in sample.times]
    median = statistics.median(times)
    seconds = median / 1e3 if system.unit.startswith("ms") else median
    processor = [sample.processor_seconds for sample in samples
                 if sample.processor_seconds is not None]
    more = {key: value for key, value in samples[-1].more.items()
            if key.startswith("products") and isinstance(value, (int, float))}
    if processor:
        more["processor_seconds"] = round(statistics.median(processor), 3)
    return {
        "work": work,
        "system": system.name,
        "private": system.private,
        "unit": system.unit,
        "min": round(min(times), 4),
        "median": round(median, 4),
        "max": round(max(times), 4),
        "measurements": len(times),
        "throughput": round(system.amount / seconds, 2) if system.amount else None,
        "throughput_unit": system.throughput_unit,
        "peak_rss_mb": round(max(sample.peak_mb for sample in samples), 1),
        "versions": samples[-1].versions | {"machine": machine.describe()},
    } | system.more | more
