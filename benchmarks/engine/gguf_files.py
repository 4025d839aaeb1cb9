"""GGUF files to measure on: smollm2-135m in other quantisations, and a Llama of 500M random weights.

    python benchmarks/engine/gguf_files.py FOLDER                         both models, as q8_0 and q4_1
    python benchmarks/engine/gguf_files.py FOLDER --sizes 500M --kinds f16

The weights of smollm2-135m are those of its file, dequantised, so "q8_0" has the errors of four bits as well. The other
model has its tokenizer and its chat template. Matrices are stored by the `gguf` package. A file that is there is left.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

from pad_langchain.defaults import SMOLLM2_MODEL, model_folder

KINDS = {"f16": 1, "q4_1": 3, "q8_0": 7}  # the numbers of llama.cpp's file types
SIZES = ("135M", "500M")
LARGE = {
    "llama.block_count": 25,
    "llama.embedding_length": 1280,
    "llama.feed_forward_length": 3584,
    "llama.attention.head_count": 20,
    "llama.attention.head_count_kv": 4,
}
SPREAD = 0.08  # of random weights; with less of it all tokens are nearly as likely

Tensors = Iterator[tuple[str, np.ndarray]]


def own(source: GGUFReader) -> Tensors:
    """The tensors of a file, dequantised."""
    for tensor in source.tensors:
        yield tensor.name, dequantize(tensor.data, tensor.tensor_type).astype(np.float32)


def random(tokens: int) -> Tensors:
    """The tensors of a Llama of the sizes in `LARGE`, whose output matrix is that of its embeddings."""
    D, F = LARGE["llama.embedding_length"], LARGE["llama.feed_forward_length"]
    shared = D * LARGE["llama.attention.head_count_kv"] // LARGE["llama.attention.head_count"]
    layer = {
        "attn_q": (D, D), "attn_k": (shared, D), "attn_v": (shared, D), "attn_output": (D, D),
        "ffn_gate": (F, D), "ffn_up": (F, D), "ffn_down": (D, F),
    }  # fmt: skip
    numbers = np.random.default_rng(0)
    yield "token_embd.weight", SPREAD * numbers.standard_normal((tokens, D), dtype=np.float32)
    yield "output_norm.weight", np.ones(D, dtype=np.float32)
    for block in range(LARGE["llama.block_count"]):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{block}.{name}.weight", np.ones(D, dtype=np.float32)
        for name, shape in layer.items():
            yield f"blk.{block}.{name}.weight", SPREAD * numbers.standard_normal(shape, dtype=np.float32)


def write(path: Path, source: GGUFReader, tensors: Tensors, kind: str, changes: Mapping[str, int]) -> None:
    """Write a model with the keys of another, but for `changes`."""
    partial = path.with_suffix(".partial")
    writer = GGUFWriter(partial, "llama")
    for field in source.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.file_type"):
            continue
        value = changes.get(field.name, field.contents())
        inner = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, field.types[0], sub_type=inner)
    writer.add_file_type(KINDS[kind])
    for name, array in tensors:
        stored = GGMLQuantizationType.F32 if array.ndim == 1 else GGMLQuantizationType[kind.upper()]
        assert array.shape[-1] % GGML_QUANT_SIZES[stored][0] == 0, name
        writer.add_tensor(name, quantize(array, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--sizes", nargs="+", default=SIZES, choices=SIZES)
    parser.add_argument("--kinds", nargs="+", default=["q8_0", "q4_1"], choices=KINDS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    source = GGUFReader(model_folder(SMOLLM2_MODEL))
    tokens = len(source.fields["tokenizer.ggml.tokens"].data)
    for size in options.sizes:
        for kind in options.kinds:
            path = options.folder / f"{'smollm2' if size == '135M' else 'random'}-{size}-{kind}.gguf"
            if not path.exists():
                write(
                    path,
                    source,
                    own(source) if size == "135M" else random(tokens),
                    kind,
                    LARGE if size == "500M" else {},
                )
            print(f"{path}: {path.stat().st_size / 1e6:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
