"""`datasets.map` with a fast tokenizer, batched.

    python -m benches.tokenize.datasets_map LINES TOKENIZER PROCESSES

It only makes token ids; pft cuts blocks, finds each token's bytes and seals an artifact as well.
With one process the tokenizer's own threads work.
"""

import os
import sys
import tempfile
import time

from datasets import Dataset, disable_progress_bars
from transformers import PreTrainedTokenizerFast

from benches.harness import peer
from benches.harness.judgments import texts


def main(path: str, file: str, processes: int) -> None:
    disable_progress_bars()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, model_max_length=1 << 30)
    if processes > 1:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"

    def encode(batch: dict) -> dict:
        return {"input_ids": tokenizer(batch["text"], return_attention_mask=False)["input_ids"]}

    with tempfile.TemporaryDirectory() as folder:
        # On disk, as data sets are; a fresh folder, so that no result is found there.
        Dataset.from_dict({"text": texts(path)}).save_to_disk(folder + "/texts")
        dataset = Dataset.load_from_disk(folder + "/texts")
        start = time.perf_counter()
        done = dataset.map(encode, batched=True, remove_columns=["text"],
                           num_proc=processes if processes > 1 else None,
                           cache_file_name=folder + "/tokens.arrow")
        seconds = time.perf_counter() - start
        assert len(done) == len(dataset)
    peer.finish([seconds * 1e3], "datasets", "transformers", "tokenizers")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
