"""OpenVINO, in Python and in C++: the same vectors as from a model file, over the mapped file."""
import gc
import os
import pathlib
import shutil
import subprocess
import unittest

import numpy as np

from engines import Case, MADE, MIB, ROOT, mapped_bytes, needs, status_bytes

needs("openvino")
import onnx
import openvino
from onnx import TensorProto, helper, numpy_helper

import cairn_store
import minilm
from openvino_model import PRECISE, Model


def own_model(graph, weights):
    """As a user of OpenVINO alone opens a model that holds its weights."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    inputs = [one for one in made.graph.input if one.name not in weights]
    del made.graph.input[:]
    made.graph.input.extend(inputs)
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    core = openvino.Core()
    return core.compile_model(core.read_model(made.SerializeToString()), "CPU", PRECISE)


class MiniLM(Case):
    def vectors(self, model):
        return model.run({"ids": self.ids, "mask": self.mask})[0]

    def test_vectors_are_those_of_openvinos_own_loading_to_the_last_bit(self):
        from safetensors.numpy import load_file
        weights = {name: array for name, array in load_file(self.published).items() if name in minilm.shapes()}
        own = own_model(minilm.graph(), weights)({"ids": self.ids, "mask": self.mask})[0]
        for path in (self.aligned, self.published):
            with self.subTest(os.path.basename(path)):
                vectors = self.vectors(Model(minilm.graph(), cairn_store.open(path)))
                self.assertSame(vectors, own)
                self.assert_close(vectors)

    def test_the_table_of_words_stays_in_the_file(self):
        """47 of the 90 MB are the table of words, which is gathered from; OpenVINO repacks the rest."""
        from safetensors.numpy import load_file
        self.vectors(Model(minilm.graph(), cairn_store.open(self.aligned)))  # what the first model takes once
        before = status_bytes("RssAnon")
        model = Model(minilm.graph(), cairn_store.open(self.aligned))
        self.vectors(model)
        served = status_bytes("RssAnon") - before
        self.assertLess(served, 80 * MIB)
        table = next(array for array in model._arrays if array.shape == (minilm.WORDS, minilm.HIDDEN))
        self.assertEqual(table.ctypes.data % 64, 0)

    def test_the_model_keeps_the_checkpoint_and_lets_go_of_it(self):
        model = Model(minilm.graph(), cairn_store.open(self.aligned))
        gc.collect()
        self.assertGreater(mapped_bytes(self.shard), 80 * MIB)
        self.assert_close(self.vectors(model))
        del model
        self.assert_lets_go()


class Refused(Case):
    def graph(self):
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in ("x", "w")]
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [8])
        return helper.make_model(helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", inputs, [output]),
                                 opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    def test_another_shape_or_dtype_is_refused(self):
        for array, why in ((np.zeros(4, np.float32), r"^w: has the shape \[4\] in the checkpoint, and \[8\] in the graph"),
                           (np.zeros(8, np.int32), "^w: is int32 in the checkpoint, and f32 in the graph"),
                           (np.array([b"x"] * 8, object), "^w: is string in the checkpoint")):
            with self.subTest(why), self.assertRaisesRegex(ValueError, why):
                Model(self.graph(), cairn_store.open(self.saved({"w": array}, f"m-{array.dtype}")))

    def test_a_checkpoint_of_another_model_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no tensor has the name of an input of the graph"):
            Model(self.graph(), cairn_store.open(self.saved({"other": np.zeros(8, np.float32)})))


@unittest.skipUnless(shutil.which("cmake"), "cmake is not installed")
class Cpp(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        root = os.path.join(MADE, "root")
        build = os.environ["CAIRN_BUILD"]
        cls.run_command("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root)
        found = {"cairn": next(pathlib.Path(root).rglob("cairn-config.cmake")).parent,
                 "OpenVINO": pathlib.Path(openvino.__file__).parent / "cmake"}
        place = os.path.join(MADE, "embed")
        cls.run_command("cmake", "-S", f"{ROOT}/examples/engines/openvino_cpp", "-B", place,
                        *(f"-D{name}_DIR={folder}" for name, folder in found.items()))
        cls.run_command("cmake", "--build", place)
        cls.program = os.path.join(place, "embed")
        cls.graph = os.path.join(MADE, "minilm.onnx")
        onnx.save(minilm.graph(), cls.graph)

    @staticmethod
    def run_command(*command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}")

    def embed(self, *arguments):
        lines = "\n".join(" ".join(str(one) for one, shown in zip(*row) if shown) for row in zip(self.ids, self.mask))
        return subprocess.run([self.program, *arguments], input=lines, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_vectors_are_those_of_python_to_the_last_bit(self):
        done = self.embed(self.graph, self.aligned)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        vectors = np.array([line.split() for line in done.stdout.splitlines()], np.float32)
        model = Model(minilm.graph(), cairn_store.open(self.aligned))
        self.assertSame(vectors, model.run({"ids": self.ids, "mask": self.mask})[0])

    def test_what_does_not_fit_is_refused(self):
        path = self.saved({"embeddings.LayerNorm.bias": np.zeros(4, np.float32)})
        for arguments, why in (((self.graph, path), "embeddings.LayerNorm.bias: the graph declares another dtype or shape"),
                               ((self.graph, self.path("none")), "none")):
            done = self.embed(*arguments)
            self.assertEqual(done.returncode, 1)
            self.assertIn(why, done.stderr)


if __name__ == "__main__":
    unittest.main()
