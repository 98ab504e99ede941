#!/usr/bin/env bash
# openvino 2026.4.1 (numpy 2.x, Python 3.11): Constant.data of a bfloat16 constant is an array of float16 with the same bits, so
# 1.0 reads as 1.875.
#
# The two types have 16 bits and different exponents. `data`, and get_data() without an argument, label bfloat16 as numpy's
# float16; nothing says so. get_data(dtype=numpy.float32) converts, and is right. A program that reads the weights of a bfloat16
# model back (a comparison, an export) gets plausible numbers that are wrong. Expected was the raw uint16, ml_dtypes.bfloat16, or
# an error.
#
# Output seen, 2026-11-30: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.3.5
cat >"$folder/run.py" <<'PYTHON'
import numpy as np
import openvino
from openvino import op

constant = op.Constant(openvino.Type.bf16, openvino.Shape([3]), [1.0, 2.0, 3.0])
print("data:", constant.data.dtype, constant.data.tolist())
print("get_data():", constant.get_data().dtype, constant.get_data().tolist())
converted = constant.get_data(dtype=np.float32)
print("get_data(dtype=float32):", converted.dtype, converted.tolist())
PYTHON
"$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
data: float16 [1.875, 2.0, 2.125]
get_data(): float16 [1.875, 2.0, 2.125]
get_data(dtype=float32): float32 [1.0, 2.0, 3.0]
SEEN
