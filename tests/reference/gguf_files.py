"""Makes tests/fixtures/gguf: a small file with every number format, and what the `gguf` package
dequantizes each tensor to.

    python tests/reference/gguf_files.py

The numbers of quantized blocks are random bytes with sane scales, so that every bit of a block
counts; the expected values come from gguf.quants.dequantize, which is independent of this project.
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

FOLDER = Path(__file__).parent.parent / "fixtures" / "gguf"
ROWS, COLUMNS = 2, 512
# Where the f16 scales of a block lie.
SCALES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}


def random_blocks(kind: Type, rng: np.random.Generator) -> np.ndarray:
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ROWS * COLUMNS // block_len, block_bytes), dtype=np.uint8)
    for at in SCALES[kind]:
        scale = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
        blocks[:, at:at + 2] = scale.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(ROWS, -1)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(FOLDER / "formats.gguf", "llama")
    writer.add_uint32("test.u32", 4_000_000_000)
    writer.add_int32("test.i32", -5)
    writer.add_float32("test.f32", 0.5)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "Grüße, 東京")
    writer.add_array("test.strings", ["a", "", "ß"])
    writer.add_array("test.integers", [1, -2, 3])
    expected = []
    floats = rng.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32)
    writer.add_tensor("f32", floats)
    expected.append(floats)
    writer.add_tensor("f16", floats.astype(np.float16))
    expected.append(floats.astype(np.float16).astype(np.float32))
    bf16 = gguf.quants.quantize(floats, Type.BF16)
    writer.add_tensor("bf16", bf16, raw_dtype=Type.BF16)
    expected.append(gguf.quants.dequantize(bf16, Type.BF16))
    for kind in SCALES:
        blocks = random_blocks(kind, rng)
        writer.add_tensor(kind.name.lower(), blocks, raw_dtype=kind)
        expected.append(gguf.quants.dequantize(blocks, kind))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    np.concatenate([e.reshape(-1) for e in expected]).astype("<f4").tofile(FOLDER / "formats.f32")
    # What blocks make of the floats, for the writer and for weights that are kept so.
    for kind in [Type.Q8_0, Type.Q4_0]:
        gguf.quants.quantize(floats, kind).tofile(FOLDER / f"floats.{kind.name.lower()}")


if __name__ == "__main__":
    main()
