"""safetensors.numpy, over Cairn: arrays are the mapped file, copy-on-write."""
from __future__ import annotations

from typing import Any, Optional

import numpy as np

from ._format import Path, SafetensorError, TensorSpec, load_array, parsed
from ._format import serialize as _serialize
from ._format import serialize_file as _serialize_file
from ._opened import safe_open

Arrays = dict[str, "np.ndarray[Any, Any]"]


def _flatten(tensor_dict: Arrays, keep_alive: list[Any]) -> dict[str, TensorSpec]:
    """The specs of arrays. `keep_alive` gets what was copied for them."""
    specs = {}
    for name, given in tensor_dict.items():
        array = np.asarray(given)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        array = np.ascontiguousarray(array)
        keep_alive.append(array)
        specs[name] = TensorSpec(dtype=array.dtype.name, shape=np.shape(given), data_ptr=array.ctypes.data,
                                 data_len=array.nbytes)
    return specs


def save(tensor_dict: Arrays, metadata: Optional[dict[str, str]] = None) -> bytes:
    """The bytes of a safetensors file with these arrays, and the texts of `metadata`.

    dtypes: those of numpy that safetensors has, and bfloat16, float8_* of ml_dtypes; else SafetensorError."""
    keep_alive: list[Any] = []
    return _serialize(_flatten(tensor_dict, keep_alive), metadata)


def save_file(tensor_dict: Arrays, filename: Path, metadata: Optional[dict[str, str]] = None) -> None:
    """Writes a safetensors file with these arrays, and the texts of `metadata`. Raises SafetensorError, OSError."""
    keep_alive: list[Any] = []
    _serialize_file(_flatten(tensor_dict, keep_alive), filename, metadata)


def load(data: bytes) -> Arrays:
    """The arrays of the bytes of a safetensors file. Raises SafetensorError."""
    buffer = bytearray(memoryview(data))  # of a number it would be so many zeros
    return {entry.name: load_array(buffer, entry) for entry in parsed(buffer)}


def load_file(filename: Path, *, backend: str = "mmap") -> Arrays:
    """The arrays of a safetensors file, by name. They are the file, copy-on-write, and take no memory until they are
    written. `backend="pread"`: they are read into memory. Raises FileNotFoundError, SafetensorError."""
    with safe_open(filename, "np", backend=backend) as opened:
        return opened.get_tensors()


__all__ = ["SafetensorError", "load", "load_file", "save", "save_file"]

