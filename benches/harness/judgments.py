"""The texts that tagging and tokenizing are timed on: real judgments, or fictional ones.

With PFT_REAL_DATA, the first judgments of its echr/judgments.jsonl; without it, about as much text
that `ingest` makes up. Everything is JSON Lines with `id`, `unit` and `text`.
"""

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .paths import BINARIES, ROOT, python

# A real judgment has about as many words as this many fictional cases.
FICTIONAL = 30


def judgments(documents: int, bench: str, work: Path) -> Iterator[dict]:
    """The first `documents` judgments, whole."""
    real = os.environ.get("PFT_REAL_DATA")
    if real:
        with open(Path(real) / "echr/judgments.jsonl") as file:
            for line in itertools.islice(file, documents):
                case = json.loads(line)
                yield {"id": case["item_id"], "unit": case["item_id"], "text": case["text"]}
        return
    corpus = ingest(
        ["--config", ROOT / "configs/ingest/echr.yml", "--set", f"synthetic.units={documents * FICTIONAL}",
         "--set", "synthetic.document=case"],
        work / "fictional",
    )
    reader = [python(bench), "-m", "benches.harness.read_corpus", corpus]
    printed = subprocess.run(reader, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    yield from map(json.loads, printed.splitlines())


def paragraphs(cases: Iterator[dict]) -> Iterator[dict]:
    """The paragraphs of judgments. A repeated text is left out: a system that keeps its answers
    would win by it."""
    seen = set()
    for case in cases:
        for number, text in enumerate(case["text"].split("\n")):
            if text.strip() and text not in seen:
                seen.add(text)
                yield {"id": f"{case['id']}/{number}", "unit": case["unit"], "text": text}


def write(path: Path, records: Iterator[dict]) -> int:
    """Writes JSON Lines; returns how many words there are, split at white space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = 0
    with open(path, "w") as file:
        for record in records:
            words += len(record["text"].split())
            file.write(json.dumps(record) + "\n")
    return words


def texts(path: str) -> list[str]:
    """The texts of JSON Lines."""
    with open(path) as file:
        return [json.loads(line)["text"] for line in file]


def corpus_of(path: Path, output: Path) -> Path:
    """JSON Lines as a corpus artifact."""
    settings = {"source": "jsonl", "path": path, "id_column": "id", "text_column": "text",
                "unit_column": "unit"}
    config = output.with_suffix(".yml")
    # JSON is YAML.
    config.write_text(json.dumps(settings, default=str))
    return ingest(["--config", config], output)


def ingest(arguments: list, output: Path) -> Path:
    """Runs `ingest`; returns the folder of its corpus."""
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    command = [BINARIES / "ingest", *arguments, "--output", output]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return output / "corpus"
