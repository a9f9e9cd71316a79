"""What is tagged: the paragraphs of some judgments, as JSON Lines and as a corpus artifact."""

import functools
import os
from pathlib import Path

from benches.harness.judgments import corpus_of, judgments, paragraphs, write
from benches.harness.paths import OUTPUT


@functools.cache
class Texts:
    """The paragraphs of the first `documents` judgments; written once in a run."""

    def __init__(self, documents: int):
        self.documents = documents
        source = "real" if os.environ.get("PFT_REAL_DATA") else "fictional"
        self.folder = OUTPUT / "tag" / f"{source}-{documents}"
        self.lines = self.folder / "paragraphs.jsonl"
        cases = judgments(documents, "tag", self.folder)
        self.words = write(self.lines, paragraphs(cases))
        self.corpus: Path = corpus_of(self.lines, self.folder / "corpus")

    def __str__(self) -> str:
        return str(self.lines)
