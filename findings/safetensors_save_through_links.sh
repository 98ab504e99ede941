#!/usr/bin/env bash
# safetensors 0.7.0 and 0.8.0 (numpy 2.x, Python 3.11): save_file over a file that has a second hard link changes what the
# other name holds with 0.7.0, and leaves it alone with 0.8.0.
#
# 0.7.0 opens the existing file, cuts it, and writes into it: the inode stays, so every other name of it (a snapshot made of
# hard links, a deduplicated model cache) holds the new tensors too. 0.8.0 gives the path a
# new inode. Expected was one behaviour, or a word about it in the notes of the release: a program that made snapshots by hard
# links is right with one version and loses its snapshot with the other.
#
# Output seen, 2026-11-30: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/run.py" <<'PYTHON'
import os
import sys

import numpy
import safetensors
from safetensors.numpy import load_file, save_file

folder = sys.argv[1]
model, snapshot = os.path.join(folder, "model.safetensors"), os.path.join(folder, "snapshot.safetensors")
save_file({"step": numpy.array([1], numpy.int32)}, model)
os.link(model, snapshot)
inode = os.stat(model).st_ino
save_file({"step": numpy.array([2], numpy.int32)}, model)
kept = "the same inode" if os.stat(model).st_ino == inode else "a new inode"
print(safetensors.__version__, kept, "model", load_file(model)["step"], "snapshot", load_file(snapshot)["step"])
PYTHON
for version in 0.7.0 0.8.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet safetensors==$version numpy
  mkdir "$folder/models-$version"
  "$folder/$version/bin/python" "$folder/run.py" "$folder/models-$version"
done | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
0.7.0 the same inode model [2] snapshot [2]
0.8.0 a new inode model [2] snapshot [1]
SEEN
