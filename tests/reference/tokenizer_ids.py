"""Token ids and offsets of tokenizers built with the `tokenizers` package, as a fixture.

    python tests/reference/tokenizer_ids.py MODEL.gguf

writes tests/fixtures/tokenizers/smollm2.json: for each text the ids and byte offsets that the
tokenizer inside SmolLM2's GGUF file must give. The reference tokenizer is put together here from
the file's vocabulary and merges with the package's own classes, and does not share code with pft.
"""

import json
import pathlib
import sys

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

TEXTS = [
    "The applicant was born in 1961 and lives in Łódź.",
    "  two spaces\tand a tab\n\nand blank lines  ",
    "I'll, you're, he'd — and \"quotes\" don't matter…",
    "Application no. 12345/67; €1,234.56 (about $1.5m).",
    "naïve café façade ﬁne ＡＢＣ ½ ²",
    "漢字と仮名 हिन्दी العربية עברית русский",
    "emoji 👩‍👩‍👧‍👦 🇫🇷 and a flag",
    "<|im_start|>user\nhello<|im_end|>",
    "a\u0000b\u200bc\ufeffd",
    "",
    "x" * 200,
]


def main(path):
    fields = GGUFReader(path).fields
    read = lambda name: fields["tokenizer.ggml." + name].contents()
    tokens, kinds = read("tokens"), read("token_type")
    merges = [tuple(merge.split(" ")) for merge in read("merges")]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3]
    )
    rows = []
    for text in TEXTS:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        to_bytes = lambda at: len(text[:at].encode())
        offsets = [[to_bytes(start), to_bytes(end)] for start, end in encoding.offsets]
        rows.append({"text": text, "ids": encoding.ids, "offsets": offsets})
    out = pathlib.Path(__file__).parent.parent / "fixtures" / "tokenizers" / "smollm2.json"
    out.write_text(json.dumps(rows, ensure_ascii=True, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
