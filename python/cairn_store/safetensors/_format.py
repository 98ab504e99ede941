"""Files and bytes in the format of safetensors: writing them, and the functions on raw bytes."""
from __future__ import annotations

import contextlib
import ctypes
import json
import math
import operator
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from .. import _checkpoint, _dtypes
from .._errors import CairnError
from .._tensor import Tensor

Path = Union[str, "os.PathLike[str]"]


class SafetensorError(CairnError):
    """What safetensors raises for files and arguments that are wrong. `code` is Cairn's."""

    def __init__(self, message: str, code: str = "Invalid", os_errno: int = 0) -> None:
        super().__init__(code, os_errno, message)


@contextlib.contextmanager
def as_safetensors_raises() -> Iterator[None]:
    """Turns Cairn's exceptions into safetensors'."""
    try:
        yield
    except SafetensorError:
        raise
    except CairnError as error:
        raise SafetensorError(str(error), error.code, error.os_errno) from error


# Cairn's name of a dtype, numpy's and torch's name of it, and its code in a header, in the order in which safetensors
# sorts: the tensors of the last come first in a file.
_TYPES = [
    ("bool", "bool", "BOOL"), ("F4", "float4_e2m1fn_x2", "F4"), ("F6_E2M3", "", "F6_E2M3"), ("F6_E3M2", "", "F6_E3M2"),
    ("uint8", "uint8", "U8"), ("int8", "int8", "I8"), ("float8_e5m2", "float8_e5m2", "F8_E5M2"),
    ("float8_e4m3fn", "float8_e4m3fn", "F8_E4M3"), ("F8_E8M0", "float8_e8m0fnu", "F8_E8M0"),
    ("float8_e4m3fnuz", "float8_e4m3fnuz", "F8_E4M3FNUZ"), ("float8_e5m2fnuz", "float8_e5m2fnuz", "F8_E5M2FNUZ"),
    ("int16", "int16", "I16"), ("uint16", "uint16", "U16"), ("float16", "float16", "F16"),
    ("bfloat16", "bfloat16", "BF16"), ("int32", "int32", "I32"), ("uint32", "uint32", "U32"),
    ("float32", "float32", "F32"), ("complex64", "complex64", "C64"), ("float64", "float64", "F64"),
    ("int64", "int64", "I64"), ("uint64", "uint64", "U64"),
]
CODES = {cairn: code for cairn, _, code in _TYPES}
_CODE_OF = {name: code for _, name, code in _TYPES if name}
_ORDER = {code: place for place, (_, _, code) in enumerate(_TYPES)}
CAIRN_OF = {code: cairn for cairn, _, code in _TYPES}
_BITS = {code: _dtypes.NUMPY[cairn].itemsize * 8 for cairn, _, code in _TYPES if cairn in _dtypes.NUMPY}
_BITS |= {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
_HEADER_BYTES_MAX = 100_000_000  # longer ones are not read by safetensors


@dataclass(frozen=True, init=False, repr=False)
class TensorSpec:
    """A tensor to be written: dtype, shape, and where its bytes are. They must stay there until they are written."""

    dtype: str
    shape: list[int]
    data_ptr: int
    data_len: int

    def __init__(self, *, dtype: str, shape: Any, data_ptr: int, data_len: int) -> None:
        code = _CODE_OF.get(dtype)
        if code is None:
            raise SafetensorError(f"Unknown dtype {json.dumps(dtype)}. Supported dtypes: {', '.join(_CODE_OF)}")
        sizes = [int(size) for size in shape]
        if code == "F4" and sizes:
            sizes[-1] *= 2  # two in each byte
        for key, value in (("dtype", code), ("shape", sizes), ("data_ptr", int(data_ptr)), ("data_len", int(data_len))):
            object.__setattr__(self, key, value)

    def __repr__(self) -> str:
        return (f"TensorSpec(dtype='{self.dtype}', shape={self.shape}, data_ptr={self.data_ptr},"
                f" data_len={self.data_len})")

    def view(self) -> memoryview:
        """The bytes, where they are."""
        if self.data_len == 0:
            return memoryview(b"")
        return memoryview((ctypes.c_char * self.data_len).from_address(self.data_ptr)).cast("B")


def _laid_out(tensors: Mapping[str, TensorSpec], metadata: Optional[Mapping[str, str]],
              alignment: int) -> tuple[bytes, list[TensorSpec]]:
    """The header, and the tensors in the order of the file."""
    for name, spec in tensors.items():
        if not isinstance(spec, TensorSpec):
            raise TypeError(f"{name}: must be a TensorSpec, not {type(spec).__name__}")
    names = sorted(tensors, key=lambda name: (-_ORDER[tensors[name].dtype], name.encode()))
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": _texts(metadata)}
    end = 0
    for name in names:
        spec = tensors[name]
        if name == "__metadata__":
            raise SafetensorError("Error while serializing: a tensor cannot be named __metadata__")
        header[name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": [end, end + spec.data_len]}
        end += spec.data_len
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % alignment)
    if len(text) > _HEADER_BYTES_MAX:
        raise SafetensorError("Error while serializing: the header is too large")
    return len(text).to_bytes(8, "little") + text, [tensors[name] for name in names]


def _texts(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must be texts, and {key!r}: {value!r} is not")
    return dict(metadata)


def serialize(tensor_dict: Mapping[str, TensorSpec], metadata: Optional[Mapping[str, str]] = None) -> bytes:
    """The bytes of a file with these tensors, byte for byte what safetensors makes (header padded to 8)."""
    header, specs = _laid_out(tensor_dict, metadata, 8)
    return b"".join([header, *(spec.view() for spec in specs)])


def serialize_file(tensor_dict: Mapping[str, TensorSpec], filename: Path,
                   metadata: Optional[Mapping[str, str]] = None) -> None:
    """Writes a file with these tensors, whose bytes begin at a multiple of 64. When it returns, the file survives a
    power cut; until then the old file of that name stays. Raises SafetensorError, OSError."""
    header, specs = _laid_out(tensor_dict, metadata, 64)
    path = os.path.realpath(filename)  # through a symbolic link into the file that it leads to
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name[:200]}.{os.getpid()}.{os.urandom(6).hex()}.tmp")
    try:
        with open(temporary, "xb", buffering=0) as file:
            _write_all(file.fileno(), [memoryview(header), *(spec.view() for spec in specs)])
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(descriptor: int, pieces: list[memoryview]) -> None:
    for piece in pieces:
        while piece:
            piece = piece[os.write(descriptor, piece[:1 << 30]):]


def by_offset(checkpoint: _checkpoint.Checkpoint) -> list[Tensor]:
    """The tensors in the order of the file."""
    return sorted(checkpoint.tensors(), key=operator.attrgetter("offset", "nbytes"))


@dataclass(frozen=True)
class Entry:
    """A tensor in the bytes of a file."""

    name: str
    code: str
    shape: list[int]
    start: int  # in the bytes of the file
    size: int


def parsed(data: bytes | bytearray) -> list[Entry]:
    """The tensors in the bytes of a file, in their order. Raises SafetensorError unless they fill the bytes exactly."""
    begin = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or begin > len(data) or begin > 8 + _HEADER_BYTES_MAX:
        raise _not_read(f"the header ends at byte {begin}, and there are {len(data)}")
    try:
        header = json.loads(bytes(data[8:begin]).decode(), object_pairs_hook=_without_twins)
        described = {name: entry for name, entry in header.items() if name != "__metadata__"}
        entries = [_entry(name, entry, begin) for name, entry in described.items()]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise _not_read(f"the header is not that of a safetensors file: {error!r}") from error
    entries.sort(key=lambda entry: (entry.start, entry.size))
    end = begin
    for entry in entries:
        if entry.start != end:
            raise _not_read(f"{entry.name} begins at byte {entry.start}, and the one before ends at {end}")
        end += entry.size
    if end != len(data):
        raise _not_read(f"the tensors end at byte {end}, and there are {len(data)}")
    return entries


def _not_read(why: str) -> SafetensorError:
    return SafetensorError(f"Error while deserializing: {why}", "Corrupt")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key is there twice")
    return made


def _entry(name: str, entry: dict[str, Any], begin: int) -> Entry:
    start, end = entry["data_offsets"]
    code, shape = entry["dtype"], entry["shape"]
    if not all(type(number) is int and number >= 0 for number in [start, end, *shape]):
        raise ValueError(f"{name}: a size or an offset is no number")
    bits = _BITS[code] * math.prod(shape)
    if bits % 8 or end - start != bits // 8:
        raise ValueError(f"{name}: {code} {shape} does not fit the bytes from {start} to {end}")
    return Entry(name, code, shape, begin + start, end - start)


def deserialize(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The tensors of a file's bytes: [(name, {"shape": …, "dtype": "F32", "data": bytearray})]."""
    return [(entry.name, {"shape": entry.shape, "dtype": entry.code,
                          "data": bytearray(data[entry.start:entry.start + entry.size])}) for entry in parsed(data)]


def load_array(buffer: bytearray, entry: Entry) -> np.ndarray[Any, Any]:
    """A tensor as an array over the bytes; of packed elements the bytes, as Tensor.numpy() gives them."""
    raw = np.frombuffer(buffer, np.uint8, entry.size, entry.start)
    dtype = _dtypes.NUMPY.get(CAIRN_OF[entry.code])
    if dtype is not None:
        return raw.view(dtype).reshape(entry.shape)
    bits = _BITS[entry.code]
    if entry.shape and entry.shape[-1] * bits % 8 == 0:
        return raw.reshape(*entry.shape[:-1], entry.shape[-1] * bits // 8)
    return raw
