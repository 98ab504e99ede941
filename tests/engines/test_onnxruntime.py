"""ONNX Runtime: the same vectors as from a model file, no copy, and no weights but the checkpoint's."""
import gc
import os
import threading
import unittest

import ml_dtypes
import numpy as np

from engines import Case, MIB, address, mapped_file, needs, status_bytes

needs("onnxruntime")
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import cairn_store
import minilm
from onnxruntime_session import Session

onnxruntime.set_default_logger_severity(4)  # refusals are errors in its log


def own_session(graph, weights, *, prepack=True, optimize=True, values=()):
    """As a user of ONNX Runtime alone opens a model that holds its weights; `values` go to add_initializer."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for name, value in dict(values).items():
        options.add_initializer(name, value)
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    inputs = [one for one in made.graph.input if one.name not in weights]
    del made.graph.input[:], made.graph.initializer[:]
    made.graph.input.extend(inputs)
    made.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


class MiniLM(Case):
    def vectors(self, session):
        return session.run(["vectors"], {"ids": self.ids, "mask": self.mask})[0]

    def test_vectors_are_those_of_onnxruntimes_own_loading_to_the_last_bit(self):
        from safetensors.numpy import load_file
        weights = {name: array for name, array in load_file(self.published).items() if name in minilm.shapes()}
        for path in (self.aligned, self.published):
            for prepack in (False, True):
                with self.subTest(path=os.path.basename(path), prepack=prepack):
                    served = Session(minilm.graph(), cairn_store.open(path), prepack=prepack)
                    self.assertEqual(set(served.served), set(minilm.shapes()))
                    vectors = self.vectors(served)
                    self.assertSame(vectors, self.vectors(own_session(minilm.graph(), weights, prepack=prepack)))
                    self.assert_close(vectors)

    def test_the_weights_are_the_mapped_file(self):
        self.vectors(Session(minilm.graph(), cairn_store.open(self.aligned)))  # what the first session takes once
        before = status_bytes("RssAnon")
        session = Session(minilm.graph(), cairn_store.open(self.aligned))
        self.vectors(session)
        self.assertLess(status_bytes("RssAnon") - before, 8 * MIB)
        for name, value in session._values.items():
            self.assertEqual(mapped_file(value.data_ptr()), self.shard, name)

    def test_the_session_keeps_the_checkpoint_and_lets_go_of_it(self):
        session = Session(minilm.graph(), cairn_store.open(self.aligned))
        gc.collect()
        self.assert_close(self.vectors(session))
        results = []
        threads = [threading.Thread(target=lambda: results.append(self.vectors(session))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len({vectors.tobytes() for vectors in results}), 1)
        del session, threads
        self.assert_lets_go()


def one_weight(nodes, weights, x, opset=20):
    """A graph of these nodes with the input x, the weights and the output y."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    zeros = [numpy_helper.from_array(np.zeros_like(array), name) for name, array in weights.items()]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, [output], zeros),
                             opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def random(*shape, dtype=np.float32):
    return np.random.default_rng(7).standard_normal(shape).astype(dtype)


node = helper.make_node
# What the optimizer computes from a weight in advance: the nodes, the weights, the shape of x, which weight it reads first.
FOLDABLE = {
    "a cast": ([node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), node("MatMul", ["x", "c"], ["y"])],
               {"w": random(8, 8, dtype=np.float16)}, (2, 8), "w"),
    "a transpose": ([node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])], {"w": random(8, 8)}, (2, 8), "w"),
    "a convolution": ([node("Conv", ["x", "w"], ["y"])], {"w": random(16, 16, 3, 3)}, (1, 16, 8, 8), "w"),
    "a convolution and a scale": ([node("Conv", ["x", "w"], ["c"]), node("Mul", ["c", "s"], ["y"])],
                                  {"w": random(4, 3, 3, 3), "s": random(4, 1, 1)}, (1, 3, 8, 8), "w"),
    "a product and a scale": ([node("MatMul", ["x", "w"], ["c"]), node("Mul", ["c", "s"], ["y"])],
                              {"w": random(8, 8), "s": random()}, (2, 8), "s"),
}


class Folding(Case):
    def test_a_graph_whose_weight_would_be_folded_is_refused_or_rewritten(self):
        for what, (nodes, weights, shape, read) in FOLDABLE.items():
            with self.subTest(what):
                graph, x = one_weight(nodes, weights, shape), random(*shape)
                opened = cairn_store.open(self.saved(weights, what.replace(" ", "-")))
                right = own_session(graph, weights, optimize=False).run(None, {"x": x})[0]
                zeros = {name: np.zeros_like(array) for name, array in weights.items()}
                values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in weights.items()}
                # What goes wrong without the example: add_initializer gets the weights, and the answer is the model's.
                wrong = own_session(graph, zeros, values=values).run(None, {"x": x})[0]
                self.assertFalse(np.allclose(wrong, right, atol=1e-3))
                with self.assertRaisesRegex(ValueError, rf"^{read}: .*in advance.*foldable=\"rewrite\""):
                    Session(graph, opened)
                session = Session(graph, opened, foldable="rewrite")
                np.testing.assert_allclose(session.run(None, {"x": x})[0], right, rtol=1e-4, atol=1e-5)

    def test_a_graph_that_folds_nothing_is_taken_as_it_is(self):
        weights = {"w": random(8, 8), "b": random(8)}
        graph = one_weight([node("Gemm", ["x", "w", "b"], ["y"], transB=1)], weights, (2, 8))
        x = random(2, 8)
        session = Session(graph, cairn_store.open(self.saved(weights)))
        np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weights["w"].T + weights["b"], rtol=1e-5, atol=1e-6)

    def test_small_floats_are_served_as_they_are(self):
        for dtype in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn):
            with self.subTest(np.dtype(dtype).name):
                weights = {"w": random(8, 8, dtype=dtype)}
                graph = one_weight([node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), node("Add", ["x", "c"], ["y"])],
                                   weights, (8, 8))
                session = Session(graph, cairn_store.open(self.saved(weights, np.dtype(dtype).name)), foldable="rewrite")
                y = session.run(None, {"x": np.zeros((8, 8), np.float32)})[0]
                self.assertSame(y, weights["w"].astype(np.float32))


class Refused(Case):
    graph = one_weight([node("Gemm", ["x", "w", "b"], ["y"])], {"w": random(8, 8), "b": random(8)}, (2, 8))

    def open(self, **tensors):
        return cairn_store.open(self.saved(tensors))

    def test_another_shape_or_dtype_is_refused(self):
        with self.assertRaisesRegex(ValueError, r"^b: has the shape \[1, 8\] in the checkpoint, and \[8\] in the graph"):
            Session(self.graph, self.open(w=random(8, 8), b=random(1, 8)))
        with self.assertRaisesRegex(ValueError, r"^b: is int32 in the checkpoint, and FLOAT in the graph"):
            Session(self.graph, self.open(w=random(8, 8), b=np.zeros(8, np.int32)))

    def test_onnxruntime_itself_reads_the_bits_of_another_dtype_as_its_own(self):
        """Why the example compares: integers become floats of the same bits, without an error."""
        graph = one_weight([node("Add", ["x", "w"], ["y"])], {"w": random(8)}, (8,))
        integers = onnxruntime.OrtValue.ortvalue_from_numpy(np.full(8, 0x3fc00000, np.int32))
        own = own_session(graph, {"w": random(8)}, values={"w": integers})
        self.assertEqual(own.run(None, {"x": np.zeros(8, np.float32)})[0].tolist(), [1.5] * 8)

    def test_strings_and_packed_elements_are_refused(self):
        with self.assertRaisesRegex(ValueError, "^b: is string in the checkpoint"):
            Session(self.graph, self.open(w=random(8, 8), b=np.array([b"x"] * 8, object)))

    def test_a_checkpoint_of_another_model_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no tensor has the name of a weight of the graph, such as .*w, b"):
            Session(self.graph, self.open(other=random(8)))

    def test_what_the_checkpoint_does_not_have_stays_the_models_in_files_too(self):
        w, b = random(8, 8), np.arange(8, dtype=np.float32)
        made = onnx.ModelProto()
        made.CopyFrom(self.graph)
        made.graph.initializer[1].CopyFrom(numpy_helper.from_array(b, "b"))
        opened = self.open(w=w)
        copy = onnx.ModelProto()
        copy.CopyFrom(made)
        onnx.save(copy, self.path("m.onnx"), save_as_external_data=True, size_threshold=0, location="m.data")
        for model in (made, self.path("m.onnx")):
            session = Session(model, opened)
            self.assertEqual((session.served, session.kept), (["w"], ["b"]))
            y = session.run(None, {"x": np.zeros((2, 8), np.float32)})[0]
            self.assertEqual(y.tolist(), [b.tolist()] * 2)

    def test_a_damaged_weight_is_refused(self):
        path = self.saved({"w": random(8, 8), "b": random(8)}, "damaged")
        place = os.path.join(self.folder, cairn_store.open(path).shards[0][0])
        with open(place, "r+b") as file:
            file.seek(cairn_store.open(path)["b"].offset)
            file.write(b"\xff")
        with self.assertRaises(cairn_store.CorruptError):
            Session(self.graph, cairn_store.open(path))


if __name__ == "__main__":
    unittest.main()
