"""Writes the files of tests/golden/onnx with onnx.

raw.onnx has a tensor of each type as raw_data, listed.onnx the same elements as numbers of protobuf, both by the names
of their types. graphs.onnx has initializers in the branches of an If, in the body of a Loop, in a function and in
Constants, and a sparse one; each is filled with its number. external.onnx has them in weights.bin.

usage: make_onnx.py OUT          (needs onnx and numpy)
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NARROW = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
KINDS = [kind for kind in TensorProto.DataType.keys() if kind not in ("UNDEFINED", "STRING")]


def array_of(rng, kind, shape):
    """Random elements of an ONNX type. Those of floats are such as both ways keep: no NaN, no rounding."""
    dtype = helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(kind))
    count = int(np.prod(shape))
    if kind in NARROW:
        codes = rng.integers(0, 2 ** NARROW[kind], count, np.uint8)
        if kind.startswith("FLOAT"):
            return codes.view(dtype).reshape(shape)
        return (codes.astype(np.int16) - (2 ** (NARROW[kind] - 1) if kind[0] == "I" else 0)).astype(dtype).reshape(shape)
    if kind == "BOOL":
        return (rng.integers(0, 2, count) == 1).reshape(shape)
    if kind.startswith("COMPLEX"):
        return (rng.integers(-9, 9, count) + 1j * rng.integers(-9, 9, count)).astype(dtype).reshape(shape)
    if "FLOAT" in kind or kind == "DOUBLE":
        return (2.0 ** rng.integers(-3 if kind != "FLOAT8E8M0" else 0, 4, count)).astype(dtype).reshape(shape)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, count, dtype, endpoint=True).reshape(shape)


def listed(name, kind, array):
    """A tensor whose elements are no raw_data."""
    tensor = helper.make_tensor(name, TensorProto.DataType.Value(kind), array.shape, array.ravel(), raw=False)
    assert not tensor.HasField("raw_data")
    return tensor


def filled(name, number):
    return numpy_helper.from_array(np.full((2, 3), number, np.float32), name)


def model_of(initializers, nodes=(), functions=(), **more):
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    nodes = list(nodes) or [helper.make_node("Constant", [], ["y"], value_float=1.0)]
    graph = helper.make_graph(nodes, "g", [], outputs, initializer=list(initializers), **more)
    model = helper.make_model(graph, producer_name="make_onnx", opset_imports=[helper.make_opsetid("", 24)],
                              functions=list(functions))
    model.ir_version = 11
    helper.set_model_props(model, {"note": "of the tests", "words": "a b"})
    return model


def subgraph(name, numbers, nodes=()):
    outputs = [helper.make_tensor_value_info(name + "_out", TensorProto.FLOAT, None)]
    nodes = list(nodes) or [helper.make_node("Identity", ["w"], [name + "_out"])]
    return helper.make_graph(nodes, name, [], outputs, initializer=[filled(*number) for number in numbers])


def write_graphs(out):
    inner = helper.make_node("If", ["cond"], ["then_out"], name="inner",
                             then_branch=subgraph("yes", [("w", 4)]), else_branch=subgraph("no", [("w", 5)]))
    nodes = [
        helper.make_node("If", ["cond"], ["a"], name="outer", then_branch=subgraph("then", [("w", 2)], [inner]),
                         else_branch=subgraph("else", [("w", 3), ("v", 6)])),
        helper.make_node("Loop", ["n", "cond"], ["b"], body=subgraph("body", [("w", 7)])),  # has no name
        helper.make_node("Constant", [], ["c"], value=filled("value", 8)),
        helper.make_node("Identity", ["a"], ["y"]),
    ]
    of_function = helper.make_node("Constant", [], ["k"], value=filled("value", 9))
    function = helper.make_function("local", "f", [], ["k"], [of_function], [helper.make_opsetid("", 24)])
    sparse = helper.make_sparse_tensor(filled("s", 1), numpy_helper.from_array(np.array([0, 2]), "s_at"), [8])
    sparse.values.CopyFrom(numpy_helper.from_array(np.array([1, 2], np.float32), "s"))
    model = model_of([filled("w", 1)], nodes, [function], sparse_initializer=[sparse])
    onnx.save(model, os.path.join(out, "graphs.onnx"))


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    rng = np.random.default_rng(18)
    arrays = {kind: array_of(rng, kind, (3, 5)) for kind in KINDS}
    raw = [numpy_helper.from_array(array, kind) for kind, array in arrays.items()]
    words = helper.make_tensor("STRING", TensorProto.STRING, [2], [b"ab", "\u00fc\0x".encode()])
    onnx.save(model_of(raw + [words]), os.path.join(out, "raw.onnx"))
    onnx.save(model_of(listed(kind, kind, array) for kind, array in arrays.items()), os.path.join(out, "listed.onnx"))
    write_graphs(out)
    os.chdir(out)  # where onnx looks for the file
    onnx.save_model(model_of(raw), "external.onnx", save_as_external_data=True, location="weights.bin",
                    size_threshold=0)


if __name__ == "__main__":
    main()
