"""Times tokenizing of whole judgments beside `datasets.map` with the same tokenizer.

    PFT_REAL_DATA=FOLDER python3 -m benches.tokenize
"""

import os
import shutil
from functools import partial
from pathlib import Path

from benches.harness import options
from benches.harness.bench import measure
from benches.harness.judgments import corpus_of, judgments, write
from benches.harness.measure import Sample, System, sample, whole_process
from benches.harness.paths import BINARIES, OUTPUT, ROOT, SMOLLM2, python
from benches.harness.process import run

CONFIG = ROOT / "configs/tokenize/smollm2.yml"


def main() -> None:
    arguments = options.parse(__doc__, ["tokenize"], documents=268, rounds=3)
    if not SMOLLM2.exists():
        raise SystemExit(f"no {SMOLLM2}: run `make models`")
    source = "real" if os.environ.get("PFT_REAL_DATA") else "fictional"
    folder = OUTPUT / "tokenize" / f"{source}-{arguments.documents}"
    lines = folder / "judgments.jsonl"
    write(lines, judgments(arguments.documents, "tokenize", folder))
    corpus = corpus_of(lines, folder / "corpus")
    # The artifact of tokens holds the tokenizer that it was made with: the peer's as well.
    own(corpus, folder / "first", arguments.threads)
    tokenizer = folder / "first/tokenizer.json"
    systems = {"pft": partial(own, corpus, folder / "tokens", arguments.threads)}
    for processes in (1, 2):
        systems[f"datasets.map, num_proc {processes}"] = partial(
            peer, [lines, tokenizer, processes], arguments.threads)
    megabytes = lines.stat().st_size / 1e6
    measure("tokenize", [
        System("tokenize", name, step, unit="s", amount=megabytes, throughput_unit="MB/s",
               more={"megabytes": round(megabytes, 1)})
        for name, step in systems.items()
    ], arguments)


def own(corpus: Path, output: Path, threads: int) -> Sample:
    """The whole process, from the corpus artifact to the sealed blocks of tokens."""
    shutil.rmtree(output, ignore_errors=True)
    done = run([BINARIES / "tokenize", "--config", CONFIG, "--input", f"corpus={corpus}",
                "--output", output, "--threads", threads, "--progress", "json"], threads)
    return whole_process(done)


def peer(words: list, threads: int) -> Sample:
    """The time of `map` alone, without imports and loading."""
    command = [python("tokenize"), "-m", "benches.tokenize.datasets_map", *words]
    done = run(command, threads, {"TOKENIZERS_PARALLELISM": "true"}, tree=True)
    taken = sample(done)
    return Sample([time / 1e3 for time in taken.times], max(taken.peak_mb, done.peak_mb),
                  taken.versions)


if __name__ == "__main__":
    main()
