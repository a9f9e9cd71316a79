"""Where things are."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
OUTPUT = TARGET / "bench"
BINARIES = TARGET / "release"
EXAMPLES = BINARIES / "examples"
SMOLLM2 = ROOT / "data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
SPACY_SMALL = ROOT / "data/models/en_core_web_sm"


def python(bench: str) -> str:
    """The interpreter of a bench's environment: `PFT_BENCH_TRAIN_PYTHON` and so on, or its own."""
    chosen = os.environ.get(f"PFT_BENCH_{bench.upper()}_PYTHON")
    return chosen or str(OUTPUT / "venv" / bench / "bin/python")
