"""One run of `tag-pii`: the whole process, from the corpus artifact to the sealed tags."""

import json
import shutil
from pathlib import Path

from benches.harness.measure import Sample, whole_process
from benches.harness.paths import BINARIES, OUTPUT
from benches.harness.process import run

from .texts import Texts


def config_of(kind: str, model: Path) -> Path:
    """The config of one backend and nothing else: no consistency pass, which no peer has."""
    path = OUTPUT / "tag" / f"{model.name}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"backends": [{"kind": kind, "model": str(model)}], "consistency": {"enabled": False}}
    # JSON is YAML.
    path.write_text(json.dumps(settings))
    return path


def own(config: Path, texts: Texts, threads: int) -> Sample:
    # tag-pii keeps finished work in its scratch folder, so each run gets a new one, and no shared
    # cache (PFT_TAG_CACHE is not passed on).
    output, scratch = texts.folder / "tags", texts.folder / "scratch"
    for folder in (output, scratch):
        shutil.rmtree(folder, ignore_errors=True)
    done = run([BINARIES / "tag-pii", "--config", config, "--input", f"corpus={texts.corpus}",
                "--output", output, "--scratch", scratch, "--threads", threads,
                "--progress", "json"], threads)
    return whole_process(done)
