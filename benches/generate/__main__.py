"""Times greedy generation of 256 tokens by SmolLM2-135M, from its Q4_1 GGUF, beside llama.cpp.

    python3 -m benches.generate --steps 3
"""

from functools import partial

from benches.harness import options
from benches.harness.bench import measure
from benches.harness.measure import Sample, System, sample
from benches.harness.paths import EXAMPLES, SMOLLM2, python
from benches.harness.process import run

from .prompt import NEW_TOKENS, PROMPT


def main() -> None:
    arguments = options.parse(__doc__, ["generate"], steps=3, rounds=3)
    if not SMOLLM2.exists():
        raise SystemExit(f"no {SMOLLM2}: run `make models`")
    prompt = ",".join(map(str, PROMPT))
    own = [EXAMPLES / "generate_bench", "--model", SMOLLM2, "--prompt", prompt,
           "--tokens", NEW_TOKENS, "--steps", arguments.steps, "--json"]
    peer = [python("generate"), "-m", "benches.generate.llama", SMOLLM2, arguments.steps,
            arguments.threads]
    commands = {
        "pft": [*own, "--precision", "int8"],
        "pft (bf16 weights)": [*own, "--precision", "bf16"],
        "pft (f32 weights)": own,
        "llama-cpp-python": peer,
    }
    measure("train", [
        System("generate", name, partial(generate, command, arguments.threads),
               unit="ms", amount=NEW_TOKENS)
        for name, command in commands.items()
    ], arguments)


def generate(command: list, threads: int) -> Sample:
    return sample(run(command, threads))


if __name__ == "__main__":
    main()
