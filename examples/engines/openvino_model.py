"""OpenVINO, with the weights of a Cairn checkpoint.

The weights are inputs of the graph. Each is replaced by a Constant over the mapped file before the model is compiled. Three
things about it are not obvious:

- In Python a Constant does not keep the array whose memory it shares, and neither does the compiled model. `Model` holds the
  arrays. (In C++ the Constant takes an owner: see openvino_cpp/embed.cc.)
- `Constant(array, shared_memory=True)` refuses an array that is read-only; a `Tensor` with a shape and a type takes it. But
  the array that such a Tensor hands out (`.data`) can be written, which ends the process: the file is mapped read-only.
- The CPU plugin copies the weight of a matrix product into a layout of its own. What it uses as it is, such as the table of
  an embedding, stays in the file. README.md has the figures.
"""
from __future__ import annotations

from typing import Mapping

import numpy as np
import onnx
import openvino
from openvino import op

import cairn_store
import minilm

PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}  # else OpenVINO computes in bfloat16 on a CPU that can
TYPES = {"float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "float8_e4m3fn": "f8e4m3",
         "float8_e5m2": "f8e5m2", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8",
         "uint16": "u16", "uint32": "u32", "uint64": "u64", "bool": "boolean"}


class Model:
    """A compiled model of OpenVINO whose weights are a checkpoint's. It keeps the checkpoint open.

    Every input of the graph whose name the checkpoint has is a weight. Raises ValueError for a tensor that does not fit the
    graph.
    """

    def __init__(self, graph: onnx.ModelProto, checkpoint: cairn_store.Checkpoint) -> None:
        core = openvino.Core()
        model = core.read_model(graph.SerializeToString())
        self._arrays: list[np.ndarray] = []
        for parameter in model.get_parameters():
            if parameter.get_friendly_name() in checkpoint:
                constant = self._constant(parameter, checkpoint[parameter.get_friendly_name()])
                parameter.output(0).replace(constant.output(0))
                model.remove_parameter(parameter)
        if not self._arrays:
            raise ValueError(f"{checkpoint.path}: no tensor has the name of an input of the graph; rename either "
                             f"('cairn rename')")
        self._compiled = core.compile_model(model, "CPU", PRECISE)

    def _constant(self, parameter: op.Parameter, tensor: cairn_store.Tensor) -> op.Constant:
        kind = getattr(openvino.Type, TYPES.get(tensor.dtype, "dynamic"))
        if kind != parameter.get_element_type() or kind == openvino.Type.dynamic:
            raise ValueError(f"{tensor.name}: is {tensor.dtype} in the checkpoint, and "
                             f"{parameter.get_element_type().get_type_name()} in the graph; convert either")
        if parameter.get_partial_shape() != openvino.PartialShape(list(tensor.shape)):
            raise ValueError(f"{tensor.name}: has the shape {list(tensor.shape)} in the checkpoint, and "
                             f"{parameter.get_partial_shape()} in the graph")
        array = tensor.numpy()
        if not array.flags.aligned:
            array = array.copy()
        self._arrays.append(array)
        # As bytes: OpenVINO's Python does not know the dtypes of ml_dtypes (bfloat16, float8).
        shared = openvino.Tensor(array.reshape(-1).view(np.uint8), openvino.Shape(list(tensor.shape)), kind)
        constant = op.Constant(shared, shared_memory=True)
        constant.set_friendly_name(tensor.name)
        return constant

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs of the graph."""
        return [np.array(value) for value in self._compiled(dict(inputs)).values()]


def embedder(checkpoint: cairn_store.Checkpoint) -> minilm.Embedder:
    model = Model(minilm.graph(), checkpoint)
    return lambda ids, mask: model.run({"ids": ids, "mask": mask})[0]


if __name__ == "__main__":
    minilm.main(embedder)
