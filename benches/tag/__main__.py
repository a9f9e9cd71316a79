"""Times tagging of judgments by paragraph beside spaCy, Presidio and transformers.

    PFT_REAL_DATA=FOLDER python3 -m benches.tag --documents 50
"""

from functools import partial

from benches.harness import options
from benches.harness.bench import measure
from benches.harness.measure import System
from benches.harness.paths import ROOT, SPACY_SMALL, python

from .own import config_of, own
from .peers import checkpoint, peer
from .texts import Texts

BATCH_SIZES = (1, 8, 32)
TRANSFORMERS = ("minilm", "bert-base")


def main() -> None:
    arguments = options.parse(__doc__, ["spacy-small", "pii", *TRANSFORMERS],
                              documents=50, rounds=2)
    if not SPACY_SMALL.exists():
        raise SystemExit(f"no {SPACY_SMALL}: run `make models`")
    made = {"spacy-small": spacy_small, "pii": pii}
    systems = []
    for work in arguments.works:
        systems.extend(made[work](arguments) if work in made else transformer(work, arguments))
    measure("tag", systems, arguments)


def spacy_small(arguments) -> list[System]:
    """The same network on the same tokens: spaCy's small English pipeline, ner alone."""
    texts = Texts(arguments.documents)
    config = config_of("spacy", SPACY_SMALL)
    systems = {"pft": partial(own, config, texts, arguments.threads)}
    for processes in (1, 2):
        systems[f"spaCy, n_process {processes}"] = peer(
            "tag", "spacy_pipe", [SPACY_SMALL, texts, processes], arguments)
    return rows("spacy-small", systems, texts)


def pii(arguments) -> list[System]:
    """Whole taggers of personal data. Presidio has the same spaCy pipeline as fast.yml."""
    texts = Texts(arguments.documents)
    systems = []
    for config in ("fast.yml", "default.yml"):
        step = partial(own, ROOT / "configs/tag-pii" / config, texts, arguments.threads)
        systems.extend(rows(config, {"pft": step}, texts))
    peers = {
        f"Presidio, n_process {processes}": peer(
            "tag", "presidio_batch", [SPACY_SMALL, texts, processes], arguments)
        for processes in (1, 2)
    }
    # Both configs are compared with the same measurements of Presidio.
    systems.extend(rows("fast.yml", peers, texts))
    for system in systems:
        system.turn = "pii"
        if system.name != "pft":
            system.also = ("default.yml",)
    return systems


def transformer(shape: str, arguments) -> list[System]:
    """A token classifier with random weights, on fewer judgments: it takes long everywhere."""
    part = 10 if shape == "minilm" else 25
    texts = Texts(max(1, arguments.documents // part))
    model = texts.folder / shape
    if not arguments.list:
        checkpoint(model, shape, texts, python("train"))
    config = config_of("transformer", model)
    systems = {"pft": partial(own, config, texts, arguments.threads)}
    for size in BATCH_SIZES:
        systems[f"transformers pipeline, batch {size}"] = peer(
            "train", "transformers_pipeline", [model, texts, size], arguments)
    return rows(shape, systems, texts)


def rows(work: str, systems: dict, texts: Texts) -> list[System]:
    return [
        System(work, name, step, unit="s", amount=texts.words, throughput_unit="words/s",
               more={"documents": texts.documents, "words": texts.words})
        for name, step in systems.items()
    ]


if __name__ == "__main__":
    main()
