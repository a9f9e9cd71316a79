"""What the measurements were made on and with."""

import functools
import os
import re
import subprocess

from .paths import ROOT


@functools.cache
def describe() -> str:
    """The processor and how many of it this process may use."""
    with open("/proc/cpuinfo") as file:
        found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
    name = found.group(1).strip() if found else "processor of unknown make"
    return f"{name}, {len(os.sched_getaffinity(0))} processors, Linux {os.uname().release}"


@functools.cache
def pft() -> dict:
    """The version of this checkout."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT,
                            capture_output=True, text=True)
    name = version.group(1) if version else "?"
    return {"pft": f"{name} ({commit.stdout.strip()})" if commit.returncode == 0 else name}
