"""transformers' token classification pipeline on PyTorch.

    python -m benches.tag.transformers_pipeline MODEL TEXTS BATCH

Texts are sorted by length. Long ones are read in windows that overlap by 64 word pieces on each
side, as pft's are.
"""

import sys
import time

from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from benches.harness import peer
from benches.harness.judgments import texts

OVERLAP = 128


def main(folder: str, path: str, batch: int) -> None:
    tag = pipeline(
        "token-classification",
        model=AutoModelForTokenClassification.from_pretrained(folder),
        tokenizer=AutoTokenizer.from_pretrained(folder),
        aggregation_strategy="simple",
        stride=OVERLAP,
        batch_size=batch,
    )
    # By length, so that a batch is not padded more than it must be.
    paragraphs = sorted(texts(path), key=len)
    tag(paragraphs[:batch])
    start = time.perf_counter()
    tag(paragraphs)
    peer.finish([(time.perf_counter() - start) * 1e3], "transformers", "torch")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
