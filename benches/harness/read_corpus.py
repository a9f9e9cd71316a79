"""Writes the documents of a corpus artifact as JSON Lines, to a file or its output, and with a file
prints how many bytes their texts have. Needs pyarrow.

    python -m benches.harness.read_corpus FOLDER [FILE]
"""

import json
import sys
from pathlib import Path

from pyarrow import parquet

written = 0
with open(sys.argv[2], "w") if len(sys.argv) > 2 else sys.stdout as lines:
    for shard in sorted(Path(sys.argv[1]).glob("*.parquet")):
        columns = ["doc_id", "unit_id", "text"]
        for batch in parquet.ParquetFile(shard).iter_batches(columns=columns):
            for document in batch.to_pylist():
                written += len(document["text"].encode())
                lines.write(json.dumps({"id": document["doc_id"], "unit": document["unit_id"],
                                        "text": document["text"]}) + "\n")
if len(sys.argv) > 2:
    print(written)
