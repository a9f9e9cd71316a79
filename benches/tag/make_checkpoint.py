"""Makes a BERT token classifier with random weights and a vocabulary learnt from some texts.

    python -m benches.tag.make_checkpoint FOLDER minilm|bert-base TEXTS
"""

import sys

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

from benches.harness.judgments import texts

SHAPES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
               "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                  "intermediate_size": 3072},
}
VOCABULARY = 30522
LABELS = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tokenizer(path: str) -> BertTokenizerFast:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL)
    made.train_from_iterator(texts(path), trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return BertTokenizerFast(tokenizer_object=made, model_max_length=512)


def main(folder: str, shape: str, path: str) -> None:
    torch.manual_seed(1)
    names = dict(enumerate(LABELS))
    model = BertForTokenClassification(BertConfig(
        vocab_size=VOCABULARY, max_position_embeddings=512, id2label=names,
        label2id={name: index for index, name in names.items()}, **SHAPES[shape],
    ))
    # Mostly O, as in text, so that decoding does not outweigh the network.
    model.classifier.bias.data[0] = 2.0
    model.save_pretrained(folder)
    tokenizer(path).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
