"""We read what onnx writes, where it lies: every type, raw and listed, inside the file and outside."""
import io
import os
import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from command import Case, Refused, cairn, cairn_json
from make_onnx import KINDS, NARROW, array_of, listed, model_of

SEED = int(os.environ.get("CAIRN_SEED", random.randrange(2**32)))
DTYPES = {"FLOAT": "float32", "DOUBLE": "float64", "FLOAT16": "float16", "BFLOAT16": "bfloat16", "BOOL": "bool",
          "COMPLEX64": "complex64", "COMPLEX128": "complex128", "FLOAT8E4M3FN": "float8_e4m3fn",
          "FLOAT8E4M3FNUZ": "float8_e4m3fnuz", "FLOAT8E5M2": "float8_e5m2", "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
          "FLOAT8E8M0": "F8_E8M0"}
DTYPES.update({kind: kind.lower() for kind in KINDS if "INT" in kind and kind not in NARROW})
DTYPES.update({kind: kind for kind in NARROW})
SHAPES = ((), (0,), (7,), (2, 3), (3, 1, 5), (2, 0, 3), (2, 1, 2, 3))


class ReadsOnnx(Case):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(SEED)
        print(f"CAIRN_SEED={SEED}")

    def arrays(self, count=1):
        """A random array of each type, some times, by names in a random order."""
        kinds = [kind for kind in KINDS for _ in range(count)]
        self.rng.shuffle(kinds)
        shapes = [SHAPES[i] for i in self.rng.integers(0, len(SHAPES), len(kinds))]
        return {f"t{i}.{kind}": (kind, array_of(self.rng, kind, shape))
                for i, (kind, shape) in enumerate(zip(kinds, shapes))}

    def assert_reads(self, path, arrays):
        """As onnx reads the file itself."""
        model = onnx.load(path)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        entries = {entry["name"]: entry for entry in cairn_json("ls", path)["tensors"]}
        self.assertEqual(set(entries), set(tensors))
        for name, (kind, array) in arrays.items():
            with self.subTest(name, shape=array.shape):
                read = numpy_helper.to_array(tensors[name])
                self.assertEqual((entries[name]["dtype"], entries[name]["shape"]), (DTYPES[kind], list(read.shape)))
                packed = numpy_helper.from_array(read).raw_data
                self.assertEqual(cairn("cat", path, name, "--raw"), packed)
                self.assertEqual(read.tobytes(), array.tobytes())

    def test_raw_tensors(self):
        arrays = self.arrays(2)
        path = self.path("m.onnx")
        onnx.save(model_of([numpy_helper.from_array(array, name) for name, (_, array) in arrays.items()]), path)
        self.assert_reads(path, arrays)
        for entry in cairn_json("ls", path)["tensors"]:
            self.assertEqual(entry["shard"], "m.onnx")

    def test_listed_tensors(self):
        arrays = self.arrays(2)
        path = self.path("m.onnx")
        onnx.save(model_of([listed(name, kind, array) for name, (kind, array) in arrays.items()]), path)
        self.assert_reads(path, arrays)

    def test_external_data(self):
        arrays = self.arrays()
        for one_file in (True, False):
            for threshold in (0, 100):
                with self.subTest(one_file=one_file, threshold=threshold):
                    folder = self.path(f"{one_file}{threshold}")
                    os.mkdir(folder)
                    here = os.getcwd()
                    os.chdir(folder)  # where onnx looks for the files
                    try:
                        made = [numpy_helper.from_array(array, name) for name, (_, array) in arrays.items()]
                        onnx.save_model(model_of(made), "m.onnx", save_as_external_data=True, size_threshold=threshold,
                                        all_tensors_to_one_file=one_file, location="w.bin" if one_file else None)
                    finally:
                        os.chdir(here)
                    self.assert_reads(os.path.join(folder, "m.onnx"), arrays)

    def test_strings(self):
        path = self.path("m.onnx")
        words = [bytes(self.rng.integers(0, 256, size, np.uint8)) for size in (0, 1, 5, 300)]
        tensor = helper.make_tensor("words", TensorProto.STRING, [2, 2], [word + b"." for word in words])
        onnx.save(model_of([tensor]), path)
        (entry,) = cairn_json("ls", path)["tensors"]
        self.assertEqual((entry["dtype"], entry["shape"]), ("string", [2, 2]))
        self.assertEqual(cairn("cat", path, "words", "--raw"), b"".join(word + b"." for word in words))

    def test_a_model_that_was_merged_is_still_read_by_onnx(self):
        arrays = self.arrays()
        here = os.getcwd()
        os.chdir(self.path())
        try:
            made = [numpy_helper.from_array(array, name) for name, (_, array) in arrays.items()]
            onnx.save_model(model_of(made), "m.onnx", save_as_external_data=True, size_threshold=0, location="w.bin")
            cairn("merge", "m.onnx", "--output", "merged")
            onnx.load("m.onnx")
        finally:
            os.chdir(here)

    def test_metadata(self):
        path = self.path("m.onnx")
        onnx.save(model_of([]), path)
        metadata = {pair["key"]: pair["value"] for pair in cairn_json("ls", path)["metadata"]}
        self.assertEqual(metadata, {"note": "of the tests", "words": "a b", "onnx.producer_name": "make_onnx",
                                    "onnx.ir_version": "11", "onnx.opset_import": '{"": 24}'})

    def test_what_is_converted_is_read_by_safetensors(self):
        arrays = {kind: array_of(self.rng, kind, (3, 4)) for kind in ("FLOAT", "INT64", "UINT8", "BOOL", "DOUBLE")}
        path, out = self.path("m.onnx"), self.path("m.safetensors")
        onnx.save(model_of([listed(kind, kind, array) for kind, array in arrays.items()]), path)
        cairn("convert", path, out, "--to", "safetensors")
        for kind, array in load_file(out).items():
            np.testing.assert_array_equal(array, arrays[kind])

    def test_values_of_cat(self):
        path = self.path("m.onnx")
        array = array_of(self.rng, "FLOAT", (5, 6))
        onnx.save(model_of([listed("w", "FLOAT", array)]), path)
        np.testing.assert_array_equal(np.load(io.BytesIO(cairn("cat", path, "w", "--npy"))), array)
        part = np.load(io.BytesIO(cairn("cat", path, "w", "--npy", "--slice", "1:3,2:")))
        np.testing.assert_array_equal(part, array[1:3, 2:])

    def test_packed_elements_are_numbers(self):
        path = self.path("m.onnx")
        kinds = [kind for kind, bits in NARROW.items() if bits != 6]
        arrays = {kind: array_of(self.rng, kind, (3, 7)) for kind in kinds}
        onnx.save(model_of([numpy_helper.from_array(array, kind) for kind, array in arrays.items()]), path)
        stats = {entry["name"]: entry for entry in cairn_json("stat", path)["tensors"]}
        for kind, array in arrays.items():
            with self.subTest(kind):
                read = np.load(io.BytesIO(cairn("cat", path, kind, "--npy"))).view(array.dtype).astype(np.float64)
                expected = array.astype(np.float64)
                np.testing.assert_array_equal(read, expected)
                said = [float(word) for word in cairn("cat", path, kind).translate(None, b"[]").split()]
                np.testing.assert_array_equal(said, expected.ravel())
                self.assertEqual((stats[kind]["min"], stats[kind]["max"]), (expected.min(), expected.max()))
                self.assertEqual(stats[kind]["zeros"], int((expected == 0).sum()))

    def test_cut_models_are_refused_as_onnx_refuses_them(self):
        path, cut = self.path("m.onnx"), self.path("cut.onnx")
        onnx.save(model_of([numpy_helper.from_array(array_of(self.rng, "FLOAT", (3,)), "w")]), path)
        with open(path, "rb") as file:
            whole = file.read()
        for size in range(1, len(whole)):
            with open(cut, "wb") as file:
                file.write(whole[:size])
            try:
                onnx.load(cut)
                loads = True
            except Exception:  # of protobuf's own kind, which differs between its implementations
                loads = False
            with self.subTest(size):
                if loads:
                    cairn("ls", cut)
                else:
                    with self.assertRaises(Refused):
                        cairn("ls", cut)
