"""ONNX Runtime, with the weights of a Cairn checkpoint.

`SessionOptions.add_initializer` gives a session the memory of a weight: here the mapped file, shared by all processes. Four
things about it are not obvious, and `Session` takes care of them:

- The session does not own the memory. If the value is freed first, the session reads freed memory. `Session` holds both, and
  lends the inner session to nobody.
- ONNX Runtime logs a weight of another shape or dtype, and goes on. `Session` compares both with the graph and refuses.
- The optimizer does not know about the memory. It folds a weight from the bytes in the model file: behind a Cast, a
  Transpose or a scale, and in every Conv whose channels are a multiple of the vector size. The session then answers with the
  model's weights, without a warning. Here the model has no bytes: the weights refer to an empty file, so that an optimizer
  that reads one fails. `Session` says which weight that was; foldable="rewrite" gives the optimizer nothing to fold.
- ONNX Runtime copies the weights of matrix products into a layout of its own ("prepacking"): faster, and each process then
  has a copy. It is off here; prepack=True turns it on. README.md has the figures.
"""
from __future__ import annotations

import os
import re
import tempfile
from typing import Any, Literal, Mapping

import numpy as np
import onnx
import onnxruntime
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

import cairn_store
import minilm

EMPTY = "no-bytes-here"


class Session:
    """An onnxruntime.InferenceSession whose weights are a checkpoint's. It keeps the checkpoint open.

    Every initializer and every input of the graph whose name the checkpoint has is served from it; `served` names them. The
    other initializers keep the model's bytes; `kept` names those. Raises ValueError for a tensor that does not fit the graph,
    and for a graph whose optimizer reads the bytes of a weight.
    """

    def __init__(self, model: str | onnx.ModelProto, checkpoint: cairn_store.Checkpoint, *, prepack: bool = False,
                 foldable: Literal["refuse", "rewrite"] = "refuse") -> None:
        """`foldable`: "refuse" raises if the optimizer wants to compute something from a weight once, in advance. "rewrite"
        declares the weights as inputs that have a value, which the optimizer must leave alone: it is then computed in each
        run, and nothing is prepacked."""
        made = _copy(model)
        declared = _declared(made.graph)
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
        values = {name: _value(checkpoint[name], *declared[name]) for name in declared if name in checkpoint}
        if not values:
            raise ValueError(f"{checkpoint.path}: no tensor has the name of a weight of the graph, such as "
                             f"{', '.join(list(declared)[-3:])}; rename either ('cairn rename')")
        self.served = sorted(values)
        self.kept = sorted(one.name for one in made.graph.initializer if one.name not in values)
        if foldable == "rewrite":
            options.log_severity_level = 3  # it warns for each weight that it cannot fold it
        for name, value in values.items():
            options.add_initializer(name, value)
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, EMPTY), "wb").close()
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
            source = os.path.dirname(os.path.abspath(model)) if isinstance(model, str) else os.getcwd()
            self._session = _opened(_without_bytes(made, values, source, foldable == "rewrite"), options)
        self._values = values  # after the session, so that it is freed after it

    def run(self, outputs: list[str] | None, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """As InferenceSession.run(). Any number of threads may call it."""
        return self._session.run(outputs, dict(inputs))


def _copy(model: str | onnx.ModelProto) -> onnx.ModelProto:
    """The graph alone, without the files that it refers to."""
    if isinstance(model, str):
        return onnx.load(model, load_external_data=False)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def _declared(graph: onnx.GraphProto) -> dict[str, tuple[tuple[int | None, ...], int]]:
    """What can be served: inputs and initializers, with shape (None: any size) and ONNX's number of the dtype."""
    made: dict[str, tuple[tuple[int | None, ...], int]] = {}
    for one in graph.input:
        kind = one.type.tensor_type
        made[one.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim), kind.elem_type
    made |= {one.name: (tuple(one.dims), one.data_type) for one in graph.initializer}
    return made


def _value(tensor: cairn_store.Tensor, shape: tuple[int | None, ...], kind: int) -> onnxruntime.OrtValue:
    """The tensor as a value of ONNX Runtime over the same memory, if it is what the graph declares."""
    dtype = tensor.numpy_dtype
    if dtype is None or onnx.helper.np_dtype_to_tensor_dtype(dtype) != kind:
        raise ValueError(f"{tensor.name}: is {tensor.dtype} in the checkpoint, and {onnx.TensorProto.DataType.Name(kind)} in "
                         f"the graph; convert either")
    if tensor.shape != shape:
        raise ValueError(f"{tensor.name}: has the shape {list(tensor.shape)} in the checkpoint, and {list(shape)} in the graph")
    array = tensor.numpy()
    if not array.flags.aligned:
        array = array.copy()
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, kind)


def _without_bytes(model: onnx.ModelProto, served: Mapping[str, Any], folder: str, rewrite: bool) -> bytes:
    """The model, in which the served weights refer to the empty file."""
    graph = model.graph
    kept = [one for one in graph.initializer if one.name not in served]
    for one in kept:
        if uses_external_data(one):
            load_external_data_for_tensor(one, folder)
    inputs = [one for one in graph.input if one.name not in served]
    declared = _declared(graph)
    weights = [_refers(name, *declared[name]) for name in served]
    if rewrite:
        inputs += [onnx.helper.make_tensor_value_info(one.name, one.data_type, list(one.dims)) for one in weights]
        model.ir_version = max(model.ir_version, 4)  # before 4 every initializer is an input, and a constant
    del graph.input[:], graph.initializer[:]
    graph.input.extend(inputs)
    graph.initializer.extend(kept + weights)
    made: bytes = model.SerializeToString()
    return made


def _refers(name: str, shape: tuple[int | None, ...], kind: int) -> onnx.TensorProto:
    made = onnx.TensorProto(name=name, data_type=kind, dims=shape, data_location=onnx.TensorProto.EXTERNAL)
    made.external_data.add(key="location", value=EMPTY)
    return made


def _opened(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes of onnxruntime have no other base
        read = re.search(r"External initializer: (\S+) offset: .* given file_length: 0", str(error))
        if not read:
            raise
        raise ValueError(f"{read[1]}: ONNX Runtime's optimizer computes something from this weight in advance, and would take "
                         f"the bytes of the model for it, not the checkpoint's. Give foldable=\"rewrite\", or export a graph "
                         f"that uses the weight as it is stored") from error


def embedder(checkpoint: cairn_store.Checkpoint) -> minilm.Embedder:
    session = Session(minilm.graph(), checkpoint)
    return lambda ids, mask: session.run(["vectors"], {"ids": ids, "mask": mask})[0]


if __name__ == "__main__":
    minilm.main(embedder)
