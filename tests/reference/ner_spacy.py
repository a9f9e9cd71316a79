"""What spaCy 3.8 makes of texts, to check pft-ner's reader of spaCy pipelines.

    python tests/reference/ner_spacy.py fixture MODEL_FOLDER
        rewrites tests/fixtures/ner/spacy/MODEL.json, named after the folder, from the sentences below
    python tests/reference/ner_spacy.py describe MODEL_FOLDER TEXTS.json
        prints the same of a list of texts
    python tests/reference/ner_spacy.py compare MODEL_FOLDER TEXTS.jsonl FOUND.jsonl
        compares with what `cargo run --release -p pft-ner --example tag_lines -- spacy …` found
        for the same texts (JSON strings, one a line), and prints counts and spaCy's speed
"""

import json
import sys
import time
from itertools import accumulate
from pathlib import Path

import spacy

OUT = Path(__file__).parent.parent / "fixtures" / "ner" / "spacy"

TEXTS = [
    "Ms Zofia Marchewka wrote to the Registrar in Strasbourg on 4 March 2003.",
    "I can't, won't, and shouldn't've; he'd've said \"it's theirs\" — they're not y'all's!",
    "Visit https://www.example.org/a/b?c=d&e=f#g, or mail jane.doe+x@mail.example.co.uk (now).",
    "The U.S. Dept. of Labor fined Acme Corp. $1,250,000.50 (about €1.1m) on Jan. 3rd, 2011...",
    "He paid 10km/h-ish speeds; see pp.12-14, §§ 3–4, No. 12345/67, and \"Art. 6(1)(a)\".",
    "café naïve Łódź Ångström Παρίσι Москва 東京 नई दिल्ली 🙂👍🏽 e\u0301tude x² ½ Ⅳ ﬁne ß İstanbul",
    "   leading blanks, trailing blanks   \n\n\nnew\tparagraph\u00a0with odd\u2003spaces \x1c end ",
    "well-known mother-in-law 2010-11-12 a/b/c foo...bar <b>tag</b> C++ C# @user #topic 50% (50%)",
    "At 5p.m. (or 5 a.m.) on 9/11 he said: ''Hello`` 'world' ‘curly’ “double” «guillemets» …",
    "'Tis the season, 'cause O'Brien and D'Angelo ain't gonna go; Cap'n Smith's ship's sails'",
    ":-) :) ;-) <3 \\o/ (^_^) XD :'( ^_^ -_- 8-D",
    "US$5 C$10 A$7 £20 ¥300 ₹40 5€ 6£ 30°C 12V 100km 3kg 2.5GHz 10mb 1,000,000 1.000,00 +3 -4 ±2",
    "IBM's John A. Smith, Jr., Ph.D., met Angela Merkel and Emmanuel Macron in Berlin last Tuesday.",
    "www.example.com example.com/path user@host http://localhost:8080 10.0.0.1 192.168.1.1 8.8.8.8",
    "a" * 120 + " " + "." * 30 + " " + "-" * 10 + " (((nested))) [[x]] {{y}} !!?? ,,, ;;; '''",
    "She was born in Kyiv on the 12th of May 1961 and won the Nobel Prize in Physics in 1999.",
    "The Grand Chamber (see Marchewka v. Poland, no. 1234/05, § 42, ECHR 2009-IV) held by 15 to 2.",
    "X Y Z _ __ PERSON ORG NOUN nsubj IS_ALPHA",
    "don’t can’t I’m you’re he’s we’d they’ll let’s o’clock rock’n’roll ’90s '90s",
    "Mt. Everest, St. Petersburg, Inc., Ltd., e.g., i.e., etc., vs., approx. a.m. Nov. Dec. Gov. Sen.",
    "x", " ", "", "\n", "…", "Jan.", "(U.K.)", "etc.)", "\"U.S.\"", "A.", "u.s.a.", "12.", "end.Start",
]


def load(folder):
    return spacy.load(folder, exclude=["tagger", "parser", "senter", "attribute_ruler", "lemmatizer"])


def describe(doc):
    sizes = [0, *accumulate(len(c.encode()) for c in doc.text)]
    return {
        "entities": [[sizes[e.start_char], sizes[e.end_char], e.label_] for e in doc.ents],
        "tokens": [[sizes[t.idx], sizes[t.idx + len(t)]] for t in doc],
    }


def fixture(folder):
    nlp = load(folder)
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / f"{Path(folder).name}.json", "w") as file:
        file.write("[\n")
        file.write(",\n".join(
            json.dumps({"text": text, **describe(nlp(text))}, ensure_ascii=False) for text in TEXTS))
        file.write("\n]\n")


def describe_all(folder, texts):
    nlp = load(folder)
    json.dump([describe(doc) for doc in nlp.pipe(json.load(open(texts)))], sys.stdout)


def compare(folder, texts, found):
    nlp = load(folder)
    texts = [json.loads(line) for line in open(texts)]
    found = [json.loads(line) for line in open(found)]
    start = time.time()
    docs = list(nlp.pipe(texts, batch_size=64))
    seconds = time.time() - start
    expected = [describe(doc) for doc in docs]
    total = sum(len(doc) for doc in docs)
    print(f"spaCy: {total} tokens, {total / seconds:.0f} tokens/s in one process")
    for part in ["tokens", "entities"]:
        equal = sum(a[part] == b[part] for a, b in zip(expected, found, strict=True))
        print(f"{part}: {equal} of {len(texts)} texts agree ({100 * equal / len(texts):.3f} %)")
    # Positions only: the texts may be private.
    for index, (a, b) in enumerate(zip(expected, found)):
        for part in ["tokens", "entities"]:
            only = [x for x in a[part] if x not in b[part]], [x for x in b[part] if x not in a[part]]
            if any(only):
                print(f"text {index}, {part}: only spaCy {only[0][:4]}, only pft {only[1][:4]}")
                break


if __name__ == "__main__":
    {"fixture": fixture, "describe": describe_all, "compare": compare}[sys.argv[1]](*sys.argv[2:])
