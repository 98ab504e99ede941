"""What a dtype of Cairn is for numpy and ml_dtypes, and the other way round."""
from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

# The dtypes with whole bytes. TensorFlow stores its types of less than one byte with one element in each byte, as
# ml_dtypes has them in memory.
NUMPY: dict[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind in {
    "bool": np.bool_, "int8": np.int8, "uint8": np.uint8, "int16": np.int16, "uint16": np.uint16, "int32": np.int32,
    "uint32": np.uint32, "int64": np.int64, "uint64": np.uint64, "float16": np.float16, "float32": np.float32,
    "float64": np.float64, "complex64": np.complex64, "complex128": np.complex128,
    "qint8": np.int8, "quint8": np.uint8, "qint16": np.int16, "quint16": np.uint16, "qint32": np.int32,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e5m2": ml_dtypes.float8_e5m2, "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "float8_e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4, "int2": ml_dtypes.int2, "uint2": ml_dtypes.uint2,
    "float4_e2m1fn": ml_dtypes.float4_e2m1fn,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}.items()}

# The packed types, for unpack(): bits of an element, and what one element is.
PACKED: dict[str, tuple[int, np.dtype[Any]]] = {name: (bits, np.dtype(kind)) for name, bits, kind in [
    ("F4", 4, ml_dtypes.float4_e2m1fn), ("FLOAT4E2M1", 4, ml_dtypes.float4_e2m1fn),
    ("INT4", 4, ml_dtypes.int4), ("UINT4", 4, ml_dtypes.uint4),
    ("INT2", 2, ml_dtypes.int2), ("UINT2", 2, ml_dtypes.uint2),
]}
_SIGNED = {"INT4", "INT2"}

# The name that Cairn writes for a dtype of numpy. The quantized types are given by name only.
_NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in NUMPY.items()
                                    if not name.startswith(("q", "F8")) }


def name_of(dtype: np.dtype[Any]) -> tuple[str, tuple[int, int, int] | None]:
    """Cairn's name of a dtype, and for one that it knows by name only the layout of its elements.

    Raises TypeError if no checkpoint can hold the dtype.
    """
    native = dtype.newbyteorder("=")
    if native == NUMPY["F8_E8M0"]:
        return "F8_E8M0", (8, 0, 0)
    name = _NAMES.get(native)
    if name is None:
        raise TypeError(f"a checkpoint cannot hold the dtype {dtype}")
    return name, None


def unpacked(name: str, packed: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """The elements of a packed type, one in each byte: the first element is in the lowest bits."""
    bits, kind = PACKED[name]
    stream = np.unpackbits(packed, bitorder="little")[:count * bits].reshape(count, bits)
    values = np.packbits(stream, axis=1, bitorder="little").reshape(count)
    if name in _SIGNED:
        shift = 8 - bits
        values = ((values << shift).view(np.int8) >> shift).astype(np.int8)
        return values.astype(kind)
    return values.astype(kind) if name.startswith("UINT") else values.view(kind)
