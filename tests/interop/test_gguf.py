"""We read what gguf-py writes, where it lies, and dequantize as it does, bit for bit."""
import io
import json
import os
import random

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFWriter
from gguf.quants import dequantize
from safetensors.numpy import load_file

from command import Case, Refused, cairn, cairn_json

TYPED = {"F32": ("f4", "float32"), "F16": ("f2", "float16"), "F64": ("f8", "float64"), "I8": ("i1", "int8"),
         "I16": ("i2", "int16"), "I32": ("i4", "int32"), "I64": ("i8", "int64")}
VALUED = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL MXFP4".split()
OF_ANOTHER_SIZE = "Q8_1"  # than in ggml
SEED = int(os.environ.get("CAIRN_SEED", random.randrange(2**32)))


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def npy(path, name, *more):
    return np.load(io.BytesIO(cairn("cat", path, name, "--npy", *more)))


class ReadsGguf(Case):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(SEED)
        print(f"CAIRN_SEED={SEED}")

    def array(self, type_):
        """Bytes of a random tensor of the type, as gguf-py wants them."""
        elements, size = GGML_QUANT_SIZES[type_]
        outer = tuple(int(n) for n in self.rng.integers(1, 4, self.rng.integers(0, 3)))
        per_row = int(self.rng.integers(1, 4))
        if type_.name in TYPED:
            count = int(np.prod(outer)) * per_row
            dtype = np.dtype(TYPED[type_.name][0])
            return np.frombuffer(self.rng.bytes(count * dtype.itemsize), dtype).reshape((*outer, per_row))
        return self.rng.integers(0, 256, (*outer, per_row * size), dtype=np.uint8)

    def random_file(self, path):
        """Each type once, in a random order, at a random alignment."""
        writer = GGUFWriter(path, "llama")
        writer.add_custom_alignment(int(2 ** self.rng.integers(3, 8)))
        types = [type_ for type_ in GGMLQuantizationType if type_.name != OF_ANOTHER_SIZE]
        arrays = {}
        for type_ in self.rng.permutation(np.array(types, dtype=object)):
            array = arrays[type_.name] = self.array(type_)
            writer.add_tensor("blk.%s.weight" % type_.name, array, raw_dtype=None if type_.name in TYPED else type_)
        write(writer)
        return arrays

    def test_names_dtypes_shapes_and_bytes_of_every_type(self):
        path = self.path("m.gguf")
        arrays = self.random_file(path)
        listed = {entry["name"]: entry for entry in cairn_json("ls", path)["tensors"]}
        tensors = GGUFReader(path).tensors
        self.assertEqual(set(listed), {tensor.name for tensor in tensors})
        for tensor in tensors:
            with self.subTest(tensor.name):
                entry, type_ = listed[tensor.name], tensor.tensor_type.name
                dtype = TYPED[type_][1] if type_ in TYPED else "bfloat16" if type_ == "BF16" else type_
                self.assertEqual(entry["dtype"], dtype)
                self.assertEqual(entry["shape"], [int(n) for n in reversed(tensor.shape)])
                self.assertEqual((entry["offset"], entry["bytes"]), (tensor.data_offset, tensor.n_bytes))
                self.assertEqual(cairn("cat", path, tensor.name, "--raw"), tensor.data.tobytes())
                self.assertEqual(arrays[type_].tobytes(), tensor.data.tobytes())

    def test_quantized_tensors_have_the_values_that_gguf_py_computes(self):
        path = self.path("m.gguf")
        for _ in range(3):
            arrays = self.random_file(path)
            for name in VALUED:
                with self.subTest(name), np.errstate(all="ignore"):
                    expected = dequantize(arrays[name], GGMLQuantizationType[name])
                    values = npy(path, "blk.%s.weight" % name)
                    self.assertEqual((values.dtype, values.shape), (np.float32, expected.shape))
                    numbers = ~np.isnan(expected)
                    np.testing.assert_array_equal(np.isnan(values), ~numbers)
                    np.testing.assert_array_equal(values.view("u4")[numbers], expected.view("u4")[numbers])

    def test_slices_of_quantized_tensors(self):
        path = self.path("m.gguf")
        data = self.rng.integers(0, 128, (5, 2 * 144), dtype=np.uint8)
        writer = GGUFWriter(path, "llama")
        writer.add_tensor("w", data, raw_dtype=GGMLQuantizationType.Q4_K)
        write(writer)
        expected = dequantize(data, GGMLQuantizationType.Q4_K)
        np.testing.assert_array_equal(npy(path, "w", "--slice", "1:4,250:270"), expected[1:4, 250:270])
        with self.assertRaises(Refused):
            cairn("cat", path, "w", "--slice", "1:4", "--raw")

    def test_metadata_of_every_kind(self):
        path = self.path("m.gguf")
        writer = GGUFWriter(path, "llama")
        third = float(np.float32(1 / 3))
        said = {"u8": 255, "i8": -128, "u16": 65535, "i16": -3, "u32": 2**32 - 1, "i32": -9, "u64": 2**64 - 1,
                "i64": -2**63, "yes": True, "no": False, "words": ["a", "\u00fc", "\U0001f600\n\""], "ints": [1, -2, 3],
                "floats": [0.5, 1.0, third], "bools": [True, False]}
        writer.add_uint8("u8", said["u8"])
        writer.add_int8("i8", said["i8"])
        writer.add_uint16("u16", said["u16"])
        writer.add_int16("i16", said["i16"])
        writer.add_uint32("u32", said["u32"])
        writer.add_int32("i32", said["i32"])
        writer.add_uint64("u64", said["u64"])
        writer.add_int64("i64", said["i64"])
        writer.add_bool("yes", True)
        writer.add_bool("no", False)
        for key in ("words", "ints", "floats", "bools"):
            writer.add_array(key, said[key])
        writer.add_float32("f32", 1 / 3)
        writer.add_float64("f64", 1 / 3)
        writer.add_string("text", "\u00e9 \"x\"")
        write(writer)
        metadata = {pair["key"]: pair["value"] for pair in cairn_json("ls", path)["metadata"]}
        for key, value in said.items():
            with self.subTest(key):
                read = json.loads(metadata[key])
                np.testing.assert_array_equal(np.float32(read) if key == "floats" else read, value)
        self.assertEqual(np.float32(metadata["f32"]), np.float32(1 / 3))
        self.assertEqual(float(metadata["f64"]), 1 / 3)
        self.assertEqual((metadata["text"], metadata["general.architecture"]), ("\u00e9 \"x\"", "llama"))

    def test_a_vocabulary_longer_than_what_is_read_at_first(self):
        path = self.path("m.gguf")
        words = ["w%d" % i for i in range(60_000)]
        writer = GGUFWriter(path, "llama")
        writer.add_array("tokenizer.ggml.tokens", words)
        writer.add_array("tokenizer.ggml.scores", [float(i) for i in range(60_000)])
        writer.add_tensor("w", np.arange(6, dtype="f4"))
        write(writer)
        metadata = {pair["key"]: pair["value"] for pair in cairn_json("ls", path)["metadata"]}
        self.assertEqual(json.loads(metadata["tokenizer.ggml.tokens"]), words)
        self.assertEqual(json.loads(metadata["tokenizer.ggml.scores"]), list(range(60_000)))
        self.assertEqual(cairn("cat", path, "w", "--raw"), np.arange(6, dtype="f4").tobytes())

    def test_big_endian_files(self):
        path = self.path("m.gguf")
        writer = GGUFWriter(path, "llama", endianess=GGUFEndian.BIG)
        arrays = {name: self.array(GGMLQuantizationType[name]) for name in TYPED}
        for name, array in arrays.items():
            writer.add_tensor(name, array)
        write(writer)
        for name, array in arrays.items():
            with self.subTest(name):
                self.assertEqual(cairn("cat", path, name, "--raw"), array.tobytes())

    def test_split_models(self):
        for alignment in (8, 32, 64):
            with self.subTest(alignment):
                folder = self.path("split%d" % alignment)
                os.mkdir(folder)
                writer = GGUFWriter(os.path.join(folder, "m.gguf"), "llama", split_max_tensors=2)
                writer.add_custom_alignment(alignment)
                arrays = {"t%d" % i: self.rng.standard_normal((3, 5)).astype("f4") for i in range(5)}
                for name, array in arrays.items():
                    writer.add_tensor(name, array)
                write(writer)
                parts = sorted(os.listdir(folder))
                self.assertEqual(parts, ["m-0000%d-of-00003.gguf" % i for i in (1, 2, 3)])
                for part in parts:
                    path = os.path.join(folder, part)
                    self.assertEqual([t["name"] for t in cairn_json("ls", path)["tensors"]], sorted(arrays))
                    for name, array in arrays.items():
                        self.assertEqual(cairn("cat", path, name, "--raw"), array.tobytes())

    def test_what_is_converted_is_read_by_safetensors(self):
        path, out = self.path("m.gguf"), self.path("m.safetensors")
        arrays = {name: self.rng.integers(-9, 9, (3, 4)).astype(TYPED[name][0]) for name in TYPED}
        writer = GGUFWriter(path, "llama")
        for name, array in arrays.items():
            writer.add_tensor(name, array)
        write(writer)
        cairn("convert", path, out, "--to", "safetensors")
        for name, array in load_file(out).items():
            np.testing.assert_array_equal(array, arrays[name])
