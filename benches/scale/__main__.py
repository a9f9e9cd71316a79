"""Times the stages without a model on corpora of growing size: seconds and peak memory.

    python3 -m benches.scale --gigabytes 0.1 1 5

There is no peer here: what is looked at is MB/s of text on one processor, and whether memory stays
flat. The corpora are fictional judgments with their gold tags, made by `ingest`.
"""

import argparse
import json
import shutil
from functools import partial
from pathlib import Path

from benches.harness import rows
from benches.harness.measure import Sample, System, rounds, whole_process
from benches.harness.paths import BINARIES, OUTPUT, ROOT, SMOLLM2, python
from benches.harness.process import run

# Cases that make about one gigabyte of text.
CASES = 540_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--gigabytes", nargs="+", type=float, default=[0.1, 1.0, 5.0],
                        help="sizes of the corpora, about")
    parser.add_argument("--threads", type=int, default=1, help="threads and processors of a stage")
    parser.add_argument("--rounds", type=int, default=1, help="how often each stage is run")
    parser.add_argument("--folder", type=Path, default=OUTPUT / "scale",
                        help="where to work; takes up to 1.7 times the text of the largest corpus")
    arguments = parser.parse_args()
    if not SMOLLM2.exists():
        raise SystemExit(f"no {SMOLLM2}: run `make models`")
    made = []
    for gigabytes in arguments.gigabytes:
        made += stages(gigabytes, arguments)
        shutil.rmtree(arguments.folder)
        # After every size, so that a bench that is stopped keeps what it has.
        rows.save("scale", made)


def stages(gigabytes: float, arguments: argparse.Namespace) -> list[dict]:
    """Makes a corpus, and measures every stage on it."""
    folder = arguments.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fictional = folder / "fictional"
    run([BINARIES / "ingest", "--config", ROOT / "configs/ingest/echr.yml",
         "--set", f"synthetic.units={round(CASES * gigabytes)}",
         "--set", "synthetic.document=case", "--output", fictional], 2)
    corpus, tags, lines = fictional / "corpus", fictional / "tags", folder / "lines.jsonl"
    counted = run([python("tokenize"), "-m", "benches.harness.read_corpus", corpus, lines], 2)
    megabytes = int(counted.stdout) / 1e6
    config = folder / "ingest.yml"
    # JSON is YAML.
    config.write_text(json.dumps({"source": "jsonl", "path": str(lines), "id_column": "id",
                                  "text_column": "text", "unit_column": "unit"}))
    given = ["--input", f"corpus={corpus}", "--input", f"tags={tags}"]
    commands = {
        "ingest": ["--config", config],
        "scrub": ["--config", ROOT / "configs/scrub/mask.yml", *given],
        "tokenize": ["--config", ROOT / "configs/tokenize/smollm2.yml", *given],
    }
    return rounds([
        System(f"{stage}, {gigabytes:g} GB", "pft",
               partial(whole_stage, stage, words, folder / stage, arguments.threads),
               unit="s", amount=megabytes, throughput_unit="MB/s",
               more={"megabytes": round(megabytes, 1), "threads": arguments.threads})
        for stage, words in commands.items()
    ], arguments.rounds)


def whole_stage(stage: str, words: list, output: Path, threads: int) -> Sample:
    """One run of a stage, from the start of its process to the sealed artifact."""
    shutil.rmtree(output, ignore_errors=True)
    done = run([BINARIES / stage, *words, "--output", output, "--threads", threads,
                "--progress", "json"], threads)
    shutil.rmtree(output)
    return whole_process(done)


if __name__ == "__main__":
    main()
