"""Writes small random token-classification checkpoints of every family that pft-ner reads, with
what transformers makes of a few texts: offsets and logits of the word pieces, and the entities of
the pipeline with aggregation_strategy="first".

    python tests/reference/ner_transformer.py        # rewrites tests/fixtures/ner/transformer/
    python tests/reference/ner_transformer.py describe FOLDER TEXTS.json
        prints the entities in each of a list of texts by the checkpoint in a folder
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig, BertForTokenClassification, DebertaV2Config, DebertaV2ForTokenClassification,
    DistilBertConfig, DistilBertForTokenClassification, PreTrainedTokenizerFast, RobertaConfig,
    RobertaForTokenClassification, XLMRobertaConfig, XLMRobertaForTokenClassification, pipeline,
)

OUT = Path(__file__).parent.parent / "fixtures" / "ner" / "transformer"

# No text has a line break: there transformers' fallback for tokenizers without a prefix of
# continuing pieces looks for a blank only, and pft-ner for any white space.
TEXTS = [
    "Ms Zofia Marchewka wrote to the Registrar in Strasbourg on 4 March 2003.",
    "The applicant, Mr Ólafur Þór Einarsson, lives in Reykjavík; his lawyer is J.-P. Costa-Dubois.",
    "Café \"Zum Löwen\" — owned by Müller & Söhne GmbH — paid €1,250.00 to İbrahim Çelik.",
    "e\u0301tude of a nai\u0308ve ﬁnding: 東京 and Παρίσι, Москва 🙂 end",
    "Unbelievablyextraordinarilylongwordwithoutanyspaces and a  double   space .",
    "x",
]
LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=130)


def wordpiece(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(TEXTS[:3], trainers.WordPieceTrainer(
        vocab_size=180, special_tokens=special, show_progress=False))
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]")))
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]",
                                   model_input_names=["input_ids", "attention_mask"], pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")


def framed(tokenizer):
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>")),
        trim_offsets=True, add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>",
                                   model_input_names=["input_ids", "attention_mask"], pad_token="<pad>", cls_token="<s>", sep_token="</s>")


SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(TEXTS[:3], trainers.BpeTrainer(
        vocab_size=360, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.decoder = decoders.ByteLevel()
    return framed(tokenizer)


def unigram(split):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace("  ", " ")])
    metaspace = pre_tokenizers.Metaspace()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), metaspace]) if split else metaspace
    tokenizer.train_from_iterator(TEXTS[:3], trainers.UnigramTrainer(
        vocab_size=180, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False))
    tokenizer.decoder = decoders.Metaspace()
    return framed(tokenizer)


def checkpoints():
    labels = dict(id2label=dict(enumerate(LABELS)), label2id={l: i for i, l in enumerate(LABELS)})
    bert = dict(pad_token_id=0, **labels)
    roberta = dict(pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, **labels)
    yield "bert", BertForTokenClassification, BertConfig, wordpiece(True), SIZES | bert
    yield "distilbert", DistilBertForTokenClassification, DistilBertConfig, wordpiece(False), dict(
        dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=130, **bert)
    yield "roberta", RobertaForTokenClassification, RobertaConfig, byte_level(), SIZES | roberta
    yield ("xlm-roberta", XLMRobertaForTokenClassification, XLMRobertaConfig, unigram(True),
           SIZES | roberta)
    deberta = dict(relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm",
                   share_att_key=True, pos_att_type=["p2c", "c2p"], position_biased_input=False,
                   type_vocab_size=0, pad_token_id=1, **labels)
    yield ("deberta-v3", DebertaV2ForTokenClassification, DebertaV2Config, unigram(False),
           SIZES | deberta)


def entities(tagger, text):
    size = lambda index: len(text[:index].encode())
    found = []
    for entity in tagger(text):
        if entity["entity_group"] == "O":
            continue
        covered = text[entity["start"]:entity["end"]]
        start = entity["start"] + len(covered) - len(covered.lstrip())
        end = start + len(covered.strip())
        if start < end:
            found.append([size(start), size(end), entity["entity_group"],
                          round(float(entity["score"]), 6)])
    return found


def describe(folder, texts):
    tagger = pipeline("token-classification", model=folder, aggregation_strategy="first",
                      device="cpu")
    json.dump([entities(tagger, text) for text in json.load(open(texts))], sys.stdout)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for seed, (name, kind, config, tokenizer, settings) in enumerate(checkpoints()):
        torch.manual_seed(seed)
        model = kind(config(vocab_size=len(tokenizer), **settings)).eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                # Large enough that attention and labels vary.
                scale = 1.0 if "mbeddings.weight" in key else 0.25
                parameter.normal_(0.0, scale)
                if "LayerNorm.weight" in key or "layer_norm.weight" in key:
                    parameter.add_(1.0)
        folder = OUT / name
        model.save_pretrained(folder)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
        tagger = pipeline("token-classification", model=model, tokenizer=tokenizer,
                          aggregation_strategy="first", device="cpu")
        cases = []
        for text in TEXTS:
            size = lambda index: len(text[:index].encode())
            encoding = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
            offsets = encoding.pop("offset_mapping")[0, 1:-1].tolist()
            with torch.no_grad():
                logits = model(**encoding).logits[0, 1:-1]
            cases.append({
                "text": text,
                "offsets": [[size(start), size(end)] for start, end in offsets],
                "logits": [round(float(x), 6) for x in logits.flatten()],
                "entities": entities(tagger, text),
            })
        with open(folder / "expected.json", "w") as file:
            json.dump(cases, file, ensure_ascii=False)
        print(name, [len(case["entities"]) for case in cases])


if __name__ == "__main__":
    describe(*sys.argv[2:]) if sys.argv[1:2] == ["describe"] else main()
