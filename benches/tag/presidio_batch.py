"""Presidio's batch analyzer with a spaCy pipeline.

    python -m benches.tag.presidio_batch MODEL TEXTS PROCESSES
"""

import logging
import sys
import time

from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

from benches.harness import peer
from benches.harness.judgments import texts

BATCH = 256


def main(model: str, path: str, processes: int) -> None:
    logging.disable(logging.WARNING)
    engine = NlpEngineProvider(nlp_configuration={
        "nlp_engine_name": "spacy",
        "models": [{"lang_code": "en", "model_name": model}],
    }).create_engine()
    analyzer = BatchAnalyzerEngine(AnalyzerEngine(nlp_engine=engine, supported_languages=["en"]))
    paragraphs = texts(path)

    # The first text compiles its patterns.
    analyzer.analyze_iterator(paragraphs[:1], language="en")
    start = time.perf_counter()
    analyzer.analyze_iterator(paragraphs, language="en", batch_size=BATCH, n_process=processes)
    peer.finish([(time.perf_counter() - start) * 1e3], "presidio-analyzer", "spacy")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
