"""spaCy's `nlp.pipe` with only its ner.

    python -m benches.tag.spacy_pipe MODEL TEXTS PROCESSES
"""

import sys
import time

import spacy

from benches.harness import peer
from benches.harness.judgments import texts


def main(model: str, path: str, processes: int) -> None:
    nlp = spacy.load(model, enable=["ner"])
    paragraphs = texts(path)
    nlp.max_length = max(map(len, paragraphs)) + 1

    nlp(paragraphs[0])
    start = time.perf_counter()
    for document in nlp.pipe(paragraphs, n_process=processes):
        len(document.ents)
    peer.finish([(time.perf_counter() - start) * 1e3], "spacy")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
