"""Writes small random Flair SequenceTagger checkpoints of the kinds that pft-ner reads, with what
flair makes of a few texts: sentences, tokens, tags, scores and spans.

    python tests/reference/ner_flair.py        # rewrites tests/fixtures/ner/flair/
"""

import json
import random
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import flair
import numpy
import torch
from flair.data import Dictionary
from flair.embeddings import (
    FlairEmbeddings, StackedEmbeddings, TransformerWordEmbeddings, WordEmbeddings,
)
from flair.models import LanguageModel, SequenceTagger
from flair.splitter import SegtokSentenceSplitter
from gensim.models import KeyedVectors
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

OUT = Path(__file__).parent.parent / "fixtures" / "ner" / "flair"
flair.device = torch.device("cpu")


def no_source(_):
    raise OSError


# Old files hold the source of the classes; the small ones here need it as little as their reader.
torch.serialization.get_source_lines_and_file = no_source

TEXTS = [
    "Ms Zofia Marchewka wrote to the Registrar in Strasbourg on 4 March 2003. She didn't reply! "
    "Mr. Ólafur Þór Einarsson (born 12.5.1961) lives in Reykjavík; his lawyer is J.-P. Costa-Dubois.",
    "Café \"Zum Löwen\" — owned by Müller & Söhne GmbH — paid €1,250.00 to İbrahim Çelik.\n\n"
    "Second paragraph, with a\nline break. It's the applicants' case: no. 12345/67, at 12:30 p.m. or so",
    "e\u0301tude of a nai\u0308ve ﬁnding: 東京 and Παρίσι, Москва 🙂 end. x",
    "The A. Dent case. By J. R. Smith et al. (see U.S. law). \"Really?\" he said. and so on... Yes!",
    "Unbelievablyextraordinarilylongwordwithoutanyspaces and a  double   space . " * 6,
    "One two, three; four: five. H2O₂ is 5 m² [Fig. 3]. " * 8,
    "x",
]
LABELS = ["PERSON", "ORG", "GPE", "DATE"]


def tag_dictionary():
    dictionary = Dictionary(add_unk=True)
    for label in LABELS:
        dictionary.add_item(label)
    dictionary.span_labels = True
    return dictionary


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(TEXTS[:2], trainers.UnigramTrainer(
        vocab_size=170, special_tokens=special, unk_token="<unk>", show_progress=False))
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")),
        trim_offsets=True, add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", bos_token="<s>",
        eos_token="</s>", cls_token="<s>", sep_token="</s>", mask_token="<mask>",
        model_max_length=64, model_input_names=["input_ids", "attention_mask"])


def transformer(folder, **settings):
    tokenizer = unigram()
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=80, type_vocab_size=1, pad_token_id=1,
        bos_token_id=0, eos_token_id=2)
    XLMRobertaModel(config, add_pooling_layer=True).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    embeddings = TransformerWordEmbeddings(
        str(folder), layers="-1", fine_tune=True, **settings)
    # What it says of where it came from is nobody's business.
    embeddings.base_model_name = "small"
    embeddings.model.config._name_or_path = "small"
    embeddings.name = "transformer-small"
    return embeddings


def scatter(module, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            # Large enough that attention and labels vary.
            parameter.normal_(0.0, 1.0 if "mbedding" in key and "weight" in key else 0.3)
            if "LayerNorm.weight" in key:
                parameter.add_(1.0)


def large(folder, **settings):
    embeddings = transformer(folder, **settings)
    tagger = SequenceTagger(
        hidden_size=16, embeddings=embeddings, tag_dictionary=tag_dictionary(), tag_type="ner",
        use_crf=False, use_rnn=False, reproject_embeddings=False)
    return tagger


def characters(forward, seed, layers, outputs, lower):
    dictionary = Dictionary()
    for character in sorted(set("".join(TEXTS[:2]) + "\n")):
        dictionary.add_item(character)
    model = LanguageModel(dictionary, forward, hidden_size=20, nlayers=layers, embedding_size=12,
                          nout=outputs, document_delimiter="\n", dropout=0.1)
    scatter(model, seed)
    name = "small-" + ("forward" if forward else "backward")
    return FlairEmbeddings(model.eval(), name=name, is_lower=lower)


def stacked(folder):
    words = ["the", "zofia", "marchewka", "registrar", "strasbourg", "#", "march", "####", "0000",
             "case", ".", ",", "Mr", "löwen", "and"]
    vectors = KeyedVectors(vector_size=10)
    random.seed(5)
    vectors.add_vectors(words, [numpy.array([random.gauss(0, 1) for _ in range(10)], "float32")
                                for _ in words])
    vectors.save(str(folder / "words"))
    glove = WordEmbeddings(str(folder / "words"))
    glove.name, glove.embeddings = "words", "words"
    embeddings = StackedEmbeddings([
        glove, characters(True, 1, 1, None, False), characters(False, 2, 2, 16, True)])
    return SequenceTagger(
        hidden_size=14, embeddings=embeddings, tag_dictionary=tag_dictionary(), tag_type="ner",
        use_crf=True, use_rnn=True, rnn_layers=2, reproject_embeddings=True), glove


def cases(tagger):
    splitter, found = SegtokSentenceSplitter(), []
    for text in TEXTS:
        size = lambda index: len(text[:index].encode())
        def predict(tokens):
            sentences = splitter.split(text)
            tagger.predict(sentences, force_token_predictions=tokens)
            return sentences

        at, rows, spans = 0, [], []
        for sentence, spanned in zip(predict(True), predict(False)):
            row, places = [], []
            for token in sentence:
                start = text.index(token.text, at)
                at = start + len(token.text)
                places.append([size(start), size(at)])
                label = token.get_label("ner")
                score = round(label.score, 6) if label.value != "O" else None
                row.append([*places[-1], label.value, score])
            for span in spanned.get_spans("ner"):
                label = span.get_label("ner")
                first, last = span.tokens[0].idx - 1, span.tokens[-1].idx - 1
                spans.append([places[first][0], places[last][1], label.value, round(label.score, 6)])
            rows.append(row)
        found.append({"text": text, "sentences": rows, "spans": spans})
    return found


def write(name, tagger, state=None, **options):
    folder = OUT / name
    folder.mkdir(parents=True)
    file = folder / "pytorch_model.bin"
    if state is None:
        tagger.save(file)
        tagger = SequenceTagger.load(str(file))
    else:
        torch.save(state, file, pickle_protocol=4, **options)
    tagger.eval()
    found = cases(tagger)
    with open(folder / "expected.json", "w") as output:
        json.dump(found, output, ensure_ascii=False)
    print(name, file.stat().st_size, [len(case["spans"]) for case in found])


@contextmanager
def pickled_as(kind, state):
    """Objects of a class pickle with this state, as they did in an older version."""
    kind.__getstate__ = state
    yield
    del kind.__getstate__


def old_transformer(self):
    """As in Flair 0.8."""
    config = {key: value for key, value in vars(self.model.config).items()
              if isinstance(value, (str, int, float, bool, list))}
    return {
        "config_state_dict": dict(config, model_type=self.model.config.model_type),
        "model_state_dict": self.model.state_dict(),
        "embedding_length_internal": self.embedding_length, "base_model_name": "small",
        "name": self.name, "layer_indexes": [-1], "subtoken_pooling": self.subtoken_pooling,
        "context_length": self.context_length, "layer_mean": True, "fine_tune": True,
        "allow_long_sentences": True, "memory_effective_training": True,
        "respect_document_boundaries": True, "context_dropout": 0.5,
    }


def old_language_model(self):
    """As in Flair 0.8."""
    names = ["dictionary", "is_forward_lm", "hidden_size", "nlayers", "embedding_size", "nout",
             "document_delimiter", "dropout"]
    return {"state_dict": self.state_dict(), **{name: getattr(self, name) for name in names}}


def old_words(self):
    """As in Flair 0.8, with gensim 4."""
    return {"embeddings": "words", "instance_parameters": {}, "name": self.name,
            "static_embeddings": True, "field": None,
            "precomputed_word_embeddings": self.precomputed, "training": False}


def old_state(tagger):
    """A checkpoint as before Flair 0.12: it holds the embeddings as an object."""
    state = tagger._get_state_dict()
    state["embeddings"] = tagger.embeddings
    return state


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for seed, (name, settings) in enumerate([
            ("transformer", dict(use_context=64, subtoken_pooling="first")),
            ("transformer-no-context", dict(
                use_context=False, use_context_separator=False, subtoken_pooling="first_last")),
        ]):
            tagger = large(folder / name, **settings)
            scatter(tagger, seed)
            write(name, tagger)
        tagger = large(folder / "old", use_context=64, use_context_separator=False,
                       subtoken_pooling="mean")
        scatter(tagger, 7)
        with pickled_as(TransformerWordEmbeddings, old_transformer):
            write("transformer-old", tagger, old_state(tagger))
        for file in ["tokenizer.json", "tokenizer_config.json"]:
            shutil.copy(folder / "old" / file, OUT / "transformer-old")

        tagger, words = stacked(folder)
        scatter(tagger.rnn, 3)
        scatter(tagger.linear, 4)
        scatter(tagger.embedding2nn, 6)
        write("stacked", tagger)
        for part in tagger.embeddings.embeddings[1:]:
            part.with_whitespace = False
        state = old_state(tagger)
        del state["state_dict"]["embeddings.list_embedding_0.embedding.weight"]
        state["state_dict"]["transitions"] = state["state_dict"].pop("crf.transitions")
        words.precomputed = KeyedVectors.load(str(folder / "words"))
        words.precomputed.lifecycle_events = []
        with pickled_as(WordEmbeddings, old_words), pickled_as(LanguageModel, old_language_model):
            write("stacked-old", tagger, state, _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
