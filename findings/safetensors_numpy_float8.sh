#!/usr/bin/env bash
# safetensors 0.8.0 (numpy 2.3.5, ml_dtypes 0.5.4, Python 3.11): safetensors.numpy writes an array of float8 and cannot read
# its own file.
#
# save_file takes an array of ml_dtypes.float8_e4m3fn and writes F8_E4M3. load_file of that file, and get_tensor, look for the
# dtype in numpy, where it is not, and end with an AttributeError. bfloat16, which comes from ml_dtypes as well, is written and
# read. Expected was that what the module writes it also reads, or that save_file refuses it.
#
# Output seen, 2026-11-30: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.3.5 ml_dtypes==0.5.4
cat >"$folder/run.py" <<'PYTHON'
import sys

import ml_dtypes
import numpy
from safetensors.numpy import load_file, save_file

path = sys.argv[1]
for dtype in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
    save_file({"w": numpy.array([1, 2], dtype)}, path)
    try:
        print(numpy.dtype(dtype).name, "written, read as", load_file(path)["w"].dtype)
    except Exception as error:
        print(numpy.dtype(dtype).name, "written, not read:", type(error).__name__, error)
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder/model.safetensors" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
bfloat16 written, read as bfloat16
float8_e4m3fn written, not read: AttributeError module 'numpy' has no attribute 'float8_e4m3fn'
float8_e5m2 written, not read: AttributeError module 'numpy' has no attribute 'float8_e5m2'
SEEN
