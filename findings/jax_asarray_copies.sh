#!/usr/bin/env bash
# jax 0.10.2 (jaxlib 0.10.2, numpy 2.x, Python 3.11, CPU): jnp.asarray(array, copy=False) copies a numpy array without an error;
# jax.device_put of the same array shares its memory.
#
# The documentation of jnp.asarray says of copy: "If False, then error if a copy is necessary." There is neither an error nor a
# need: device_put makes an array over the same memory if it begins at a multiple of 64 bytes, and a copy if not; its
# documentation does not name the number. A program that loads weights by memory-mapping and asks for copy=False has them in memory
# twice. Expected was the shared array, or the error.
#
# Output seen, 2026-11-30: the last lines of this file. Ends with 0 if that is so today, with 1 if not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.3.5
cat >"$folder/run.py" <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np

memory = np.zeros(1024 + 64, np.uint8)
start = -memory.ctypes.data % 64


def shared(make, offset):
    array = memory[start + offset:start + offset + 512].view(np.float32)
    return "shared" if make(array).unsafe_buffer_pointer() == array.ctypes.data else "copied"


for offset in (0, 32):
    print(f"at a multiple of 64 plus {offset}:",
          "asarray", shared(jnp.asarray, offset),
          "- asarray(copy=False)", shared(lambda array: jnp.asarray(array, copy=False), offset),
          "- device_put", shared(jax.device_put, offset))
PYTHON
JAX_PLATFORMS=cpu "$folder/venv/bin/python" "$folder/run.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
at a multiple of 64 plus 0: asarray copied - asarray(copy=False) copied - device_put shared
at a multiple of 64 plus 32: asarray copied - asarray(copy=False) copied - device_put copied
SEEN
