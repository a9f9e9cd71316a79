"""Prints the documents of a corpus artifact as JSON Lines. Needs pyarrow.

    python -m benches.harness.read_corpus FOLDER
"""

import json
import sys
from pathlib import Path

from pyarrow import parquet

for shard in sorted(Path(sys.argv[1]).glob("*.parquet")):
    table = parquet.read_table(shard, columns=["doc_id", "unit_id", "text"])
    for document in table.to_pylist():
        print(json.dumps({"id": document["doc_id"], "unit": document["unit_id"],
                          "text": document["text"]}))
