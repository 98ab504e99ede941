#!/usr/bin/env bash
# TensorFlow 2.21.0 (tensorflow-cpu, Python 3.11): one tf.train.Checkpoint.save() into the directory of a
# tf.train.CheckpointManager makes the next process of the manager overwrite its own checkpoints.
#
# Checkpoint.save() writes the catalog file `checkpoint` anew with its own checkpoint alone. A manager that is made
# afterwards, as at the restart of a training, lists no checkpoint, but gives the other's as `latest_checkpoint`. Who
# restores that gets its save counter, 1; so the manager's next saves are called ckpt-2 and ckpt-3, and replace the files
# of those names without a word. ckpt-1 is forgotten: no max_to_keep ever removes it. Expected was that a manager knows
# its checkpoints by their names, or that a save refuses a name that is taken.
#
# Output seen, 2026-11-29: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0
cat >"$folder/run.py" <<'PYTHON'
import os
import sys

import tensorflow as tf

directory, process = sys.argv[1:]
value = tf.Variable(1.0 if process == "first" else 2.0)
checkpoint = tf.train.Checkpoint(value=value)
manager = tf.train.CheckpointManager(checkpoint, directory, max_to_keep=3)


def bases(paths):
    return " ".join(sorted(os.path.basename(path) for path in paths)) or "none"


def on_disk():
    return bases(name.removesuffix(".index") for name in os.listdir(directory) if name.endswith(".index"))


def stored(name):
    return tf.train.load_variable(os.path.join(directory, name), "value/.ATTRIBUTES/VARIABLE_VALUE")


if process == "first":
    for _ in range(3):
        manager.save()
    tf.train.Checkpoint(value=value).save(os.path.join(directory, "best"))
    print("on disk:", on_disk())
    print("catalog:", bases(tf.train.get_checkpoint_state(directory).all_model_checkpoint_paths))
else:
    print("manager lists:", bases(manager.checkpoints), "- latest:", os.path.basename(manager.latest_checkpoint))
    checkpoint.restore(manager.latest_checkpoint)
    value.assign(2.0)
    print("ckpt-2 before:", stored("ckpt-2"), "- on disk:", on_disk())
    print("saved as:", os.path.basename(manager.save()))
    print("ckpt-2 after:", stored("ckpt-2"), "- on disk:", on_disk())
PYTHON
mkdir "$folder/saved"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=
for process in first second; do
  "$folder/venv/bin/python" "$folder/run.py" "$folder/saved" "$process" 2>/dev/null
done | tee "$folder/seen"
diff - "$folder/seen" <<'SEEN'
on disk: best-1 ckpt-1 ckpt-2 ckpt-3
catalog: best-1
manager lists: none - latest: best-1
ckpt-2 before: 1.0 - on disk: best-1 ckpt-1 ckpt-2 ckpt-3
saved as: ckpt-2
ckpt-2 after: 2.0 - on disk: best-1 ckpt-1 ckpt-2 ckpt-3
SEEN
