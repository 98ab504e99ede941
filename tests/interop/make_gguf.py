"""Writes the files of tests/golden/gguf with gguf-py.

types.gguf has a tensor of each type that gguf-py knows, its blocks random bytes. types.float32 are the values of those
that gguf-py dequantizes and Cairn too, in the order of their names; none is a NaN. model-0000N-of-00003.gguf is a split
model whose alignment, 64, stands in the first file alone. big_endian.gguf is in the other byte order.

usage: make_gguf.py OUT          (needs gguf and numpy)
"""
import os
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFEndian, GGUFWriter
from gguf.quants import dequantize

TYPED = {"F32": "f4", "F16": "f2", "F64": "f8", "I8": "i1", "I16": "i2", "I32": "i4", "I64": "i8"}
VALUED = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL MXFP4".split()
ROWS, BLOCKS = 2, 1


def blocks(rng, type_, rows, per_row):
    """Random bytes of that many blocks. Any bytes are blocks; scales may be infinite or no numbers."""
    return rng.integers(0, 256, (rows, per_row * GGML_QUANT_SIZES[type_][1]), dtype=np.uint8)


def add_blocks(writer, name, type_, data):
    writer.add_tensor(name, data, raw_dtype=type_)


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_types(out, rng):
    writer = GGUFWriter(os.path.join(out, "types.gguf"), "llama")
    writer.add_array("test.words", ["a", "\u00fc", 'quote"'])
    writer.add_float32("test.third", 1 / 3)
    values = {}
    for type_ in GGMLQuantizationType:
        if type_ is GGMLQuantizationType.Q8_1:
            continue  # of another size in ggml
        name = type_.name
        if name in TYPED:
            writer.add_tensor(name, rng.integers(-9, 9, (2, 3)).astype(TYPED[name]))
        elif name == "BF16":
            add_blocks(writer, name, type_, rng.integers(0, 256, (2, 6), dtype=np.uint8))
        else:
            data = blocks(rng, type_, ROWS, BLOCKS)
            add_blocks(writer, name, type_, data)
            if name in VALUED:
                values[name] = dequantize(data, type_)
    write(writer)
    with open(os.path.join(out, "types.float32"), "wb") as file:
        for name in sorted(values):
            file.write(values[name].astype("<f4").tobytes())


def write_split(out, rng):
    writer = GGUFWriter(os.path.join(out, "model.gguf"), "llama", split_max_tensors=2)
    writer.add_custom_alignment(64)
    for name in "abcdef":
        writer.add_tensor(name, rng.integers(1, 100, (3,)).astype("f4"))
    write(writer)


def write_big_endian(out, rng):
    writer = GGUFWriter(os.path.join(out, "big_endian.gguf"), "llama", endianess=GGUFEndian.BIG)
    writer.add_uint32("test.number", 258)
    writer.add_tensor("f4", np.arange(6).reshape(2, 3).astype("f4"))
    writer.add_tensor("i1", np.arange(5).astype("i1"))
    writer.add_tensor("i8", np.arange(4).astype("i8"))
    add_blocks(writer, "q", GGMLQuantizationType.Q8_0, blocks(rng, GGMLQuantizationType.Q8_0, 1, 1))
    write(writer)


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    rng = np.random.default_rng(19)
    with np.errstate(all="ignore"):
        write_types(out, rng)
    write_split(out, rng)
    write_big_endian(out, rng)


if __name__ == "__main__":
    main()
