"""Tokenizers inside GGUF files, and the ids that their reference implementations give.

    python tests/reference/tokenizers_gguf.py

makes tests/fixtures/tokenizers/{llama,gpt-2,llama-bpe}.gguf and a .json beside each: for every
text its ids. The vocabularies are small and trained here on this project's own documentation.
References: `llama` is SentencePiece itself; `gpt-2` is transformers' GPT2Tokenizer, which is
written in Python; `llama-bpe` is the `tokenizers` package, set up as Llama 3's tokenizer.json.
"""

import io
import json
import tempfile
from pathlib import Path

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Tokenizer

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "tests" / "fixtures" / "tokenizers"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [
    "The applicant was born in 1961 and lives in Łódź.",
    "  two spaces\tand a tab\n\nand blank lines  ",
    "I'll, you're, he'd, IT'S — and \"quotes\" don't matter…",
    "Application no. 12345/67; €1,234.56 (about $1.5m).",
    "naïve café façade ﬁne ＡＢＣ ½ ²",
    "漢字と仮名 हिन्दी العربية עברית русский",
    "emoji 👩‍👩‍👧‍👦 🇫🇷 and a flag",
    "a\u200bc\ufeffd \u00a0 nbsp",
    "a b  c   d    e     f",
    "\r\n\r\n  \r\n\tmixed\r\n",
    "",
    " ",
    "x" * 100,
    "0 00 000 0000 00000 1,000,000",
    "the the the privacy of the documents in the pipeline",
]


def corpus():
    texts = [ROOT / name for name in ("README.md", "ARCHITECTURE.md")]
    return [line for path in texts for line in path.read_text().splitlines() if line.strip()]


def write(name, model, tokens, types, scores=None, merges=None, pre=None, special=()):
    writer = gguf.GGUFWriter(FOLDER / f"{name}.gguf", "llama")
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if scores:
        writer.add_token_scores(scores)
    if merges:
        writer.add_token_merges(merges)
    for key, value in special:
        getattr(writer, f"add_{key}")(value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def save(name, encode):
    rows = [{"text": text, "ids": encode(text)} for text in TEXTS]
    (FOLDER / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")


def llama():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=model, vocab_size=700, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.98,
        minloglevel=2,
    )
    reference = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(reference.vocab_size())
    kind = lambda i: 2 if reference.is_unknown(i) else 3 if reference.is_control(i) else 6 if reference.is_byte(i) else 1
    write("llama", "llama", [reference.id_to_piece(i) for i in ids], [kind(i) for i in ids],
          scores=[reference.get_score(i) for i in ids],
          special=[("bos_token_id", 1), ("eos_token_id", 2), ("unk_token_id", 0)])
    save("llama", lambda text: reference.encode(text))


def trained(pre_tokenizer):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    state = json.loads(tokenizer.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["merges"]]
    tokens = [token for token, _ in sorted(state["vocab"].items(), key=lambda item: item[1])]
    return tokens + ["<|endoftext|>"], merges


def gpt2():
    tokens, merges = trained(pre_tokenizers.ByteLevel(add_prefix_space=False))
    end = len(tokens) - 1
    write("gpt-2", "gpt2", tokens, [1] * end + [3], merges=merges, pre="gpt-2",
          special=[("bos_token_id", end), ("eos_token_id", end)])
    with tempfile.TemporaryDirectory() as folder:
        vocab, merge_file = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocab.write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
        merge_file.write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        reference = GPT2Tokenizer(str(vocab), str(merge_file))
        save("gpt-2", lambda text: reference(text)["input_ids"])


def llama_bpe():
    split = lambda: pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokens, merges = trained(split())
    end = len(tokens) - 1
    write("llama-bpe", "gpt2", tokens, [1] * end + [3], merges=merges, pre="llama-bpe",
          special=[("bos_token_id", end), ("eos_token_id", end)])
    reference = Tokenizer(models.BPE(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[tuple(merge.split(" ")) for merge in merges], ignore_merges=True))
    reference.pre_tokenizer = split()
    reference.decoder = decoders.ByteLevel()
    reference.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    save("llama-bpe", lambda text: reference.encode(text).ids)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    llama()
    gpt2()
    llama_bpe()
