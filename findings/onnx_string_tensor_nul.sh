#!/usr/bin/env bash
# onnx 1.23.2 (numpy 2.x, Python 3.11): a string tensor that onnx.helper.make_tensor makes loses NUL bytes at the end of
# its strings, without a word, in the model that is saved.
#
# TensorProto.string_data holds bytes of any kind, and ONNX's own reader gives back what lies there. make_tensor takes the
# strings through an array of numpy's fixed-width bytes, which ends each at its last byte that is not NUL: b"x\0" is stored
# as b"x", and b"\0" as b"". Binary vocabularies (hashed or encoded tokens) come back as other keys, two of them perhaps as
# one. The same bytes given to string_data.append() stay whole. Expected was that they are kept, or refused.
#
# Output seen, 2026-11-29: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2
cat >"$folder/run.py" <<'PYTHON'
import sys

import onnx
from onnx import TensorProto, helper

GIVEN = [b"x\0", b"\0", b"a\0b", b"x"]

made = helper.make_tensor("made", TensorProto.STRING, [len(GIVEN)], GIVEN)
by_hand = TensorProto(name="by hand", data_type=TensorProto.STRING, dims=[len(GIVEN)])
by_hand.string_data.extend(GIVEN)
graph = helper.make_graph([], "g", [], [], [made, by_hand])
onnx.save(helper.make_model(graph), sys.argv[1])
print("given  ", GIVEN)
for tensor in onnx.load(sys.argv[1]).graph.initializer:
    print(f"{tensor.name:7}", list(tensor.string_data))
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder/m.onnx" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
given   [b'x\x00', b'\x00', b'a\x00b', b'x']
made    [b'x', b'', b'a\x00b', b'x']
by hand [b'x\x00', b'\x00', b'a\x00b', b'x']
SEEN
