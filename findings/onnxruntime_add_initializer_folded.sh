#!/usr/bin/env bash
# onnxruntime 1.32.0 (onnx 1.23.2, numpy 2.x, Python 3.11, CPU): a weight given by SessionOptions.add_initializer is ignored
# in most graphs at the default optimization level, without a word: the session answers with the bytes of the model.
#
# The optimizer does not know the given value. Where it computes something from a weight in advance, it takes the model's own
# bytes: behind a Cast or a Transpose, in a product that a scale follows, and in a plain Conv of 16 channels, whose weight it
# reorders. A MatMul alone uses the given value. So a model that is served with other weights than its file holds (a fine-tuned
# checkpoint, an empty placeholder) is right with one graph and silently wrong with the next. With ORT_DISABLE_ALL, and with the
# weight declared as an input of the graph too, the given value is used in all of them. Expected was that the given value
# counts, or an error.
#
# Output seen, 2026-11-30: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.3.5
cat >"$folder/run.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(3)
LEVELS = onnxruntime.GraphOptimizationLevel
node = helper.make_node
GRAPHS = {
    "MatMul": ([node("MatMul", ["x", "w"], ["y"])], (8, 8), np.float32, (1, 8)),
    "Cast, MatMul": ([node("Cast", ["w"], ["c"], to=TensorProto.FLOAT), node("MatMul", ["x", "c"], ["y"])], (8, 8), np.float16,
                     (1, 8)),
    "Transpose, MatMul": ([node("Transpose", ["w"], ["t"]), node("MatMul", ["x", "t"], ["y"])], (8, 8), np.float32, (1, 8)),
    "Conv": ([node("Conv", ["x", "w"], ["y"])], (16, 16, 3, 3), np.float32, (1, 16, 4, 4)),
}


def answer(nodes, shape, dtype, x, level, as_input):
    """What a model of ones answers that is given twos."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    if as_input:
        inputs.append(helper.make_tensor_value_info("w", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape))
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.ones(shape, dtype), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    given = onnxruntime.OrtValue.ortvalue_from_numpy(np.full(shape, 2, dtype))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.add_initializer("w", given)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    terms = np.prod(shape[1:])  # of each sum; x is one everywhere
    y = session.run(None, {"x": np.ones(x, np.float32)})[0] / terms
    return {1.0: "the model's", 2.0: "the given"}[float(y.flat[0])]


for name, graph in GRAPHS.items():
    print(f"{name}: default {answer(*graph, LEVELS.ORT_ENABLE_ALL, False)}, ORT_DISABLE_ALL "
          f"{answer(*graph, LEVELS.ORT_DISABLE_ALL, False)}, as an input {answer(*graph, LEVELS.ORT_ENABLE_ALL, True)}")
PYTHON
"$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
MatMul: default the given, ORT_DISABLE_ALL the given, as an input the given
Cast, MatMul: default the model's, ORT_DISABLE_ALL the given, as an input the given
Transpose, MatMul: default the model's, ORT_DISABLE_ALL the given, as an input the given
Conv: default the model's, ORT_DISABLE_ALL the given, as an input the given
SEEN
