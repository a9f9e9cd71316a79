"""Greedy generation by llama-cpp-python.

    python -m benches.generate.llama FILE STEPS THREADS
"""

import itertools
import sys

from llama_cpp import Llama

from benches.harness import peer

from .prompt import NEW_TOKENS, PROMPT


def main(file: str, steps: int, threads: int) -> None:
    model = Llama(file, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)

    def generate():
        model.reset()
        tokens = model.generate(PROMPT, temp=0.0, repeat_penalty=1.0)
        assert len(list(itertools.islice(tokens, NEW_TOKENS))) == NEW_TOKENS

    peer.finish(peer.timed(generate, steps), "llama-cpp-python")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
