#!/usr/bin/env bash
# safetensors 0.8.0 (numpy 2.3.5, Python 3.11): a file without tensors and with an empty metadata has a header that is no JSON.
#
# save({}, {}) and save_file({}, path, {}) write the header {},"__metadata__":{}} and end without an error. load of these bytes
# says "trailing characters", and so does every other reader of JSON. Without the metadata, with an entry in it, or with a
# tensor beside it, the header is right. A program that saves the part of a model that is left after filtering, and always
# hands over its metadata, writes such a file. Expected was the header {"__metadata__":{}}, or {}.
#
# Output seen, 2026-11-30: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.3.5
cat >"$folder/run.py" <<'PYTHON'
import numpy
from safetensors.numpy import load, save

one = {"w": numpy.zeros(1, numpy.float32)}
for tensors, metadata in (({}, None), ({}, {}), ({}, {"format": "np"}), (one, {})):
    data = save(tensors, metadata)
    header = data[8:8 + int.from_bytes(data[:8], "little")].rstrip().decode()
    try:
        load(data)
        seen = "read"
    except Exception as error:
        seen = f"not read: {error}"
    print(header, seen, sep=" | ")
PYTHON
"$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
{} | read
{},"__metadata__":{}} | not read: Error while deserializing: invalid JSON in header: trailing characters at line 1 column 3
{"__metadata__":{"format":"np"}} | read
{"__metadata__":{},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} | read
SEEN
