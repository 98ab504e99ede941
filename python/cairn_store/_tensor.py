"""A tensor of an open checkpoint, and the arrays that are made of it."""
from __future__ import annotations

import operator
from types import EllipsisType
from typing import TYPE_CHECKING, Any, SupportsIndex, Union

import numpy as np

from . import _cairn, _dtypes
from ._errors import InvalidError, UnsupportedError

if TYPE_CHECKING:
    import torch as _torch

Array = np.ndarray[Any, Any]
Index = Union[SupportsIndex, slice, EllipsisType, "tuple[SupportsIndex | slice | EllipsisType, ...]"]

_CPU = (1, 0)  # kDLCPU, device 0


class Tensor:
    """One named entry of a checkpoint. It keeps the checkpoint open, and so does every array made of it.

    A tensor is an input of numpy and of every library that knows DLPack: `numpy.asarray(tensor)`,
    `torch.from_dlpack(tensor)`, `jax.dlpack.from_dlpack(tensor)`. Libraries that ask for no version of DLPack, such as JAX and
    TensorFlow, take only tensors of a checkpoint that was opened with access="private" (see __dlpack__).

    Threads: any number may use the same tensor. After fork(), the child may go on to read.
    """

    __slots__ = ("_handle", "__weakref__")

    def __init__(self, handle: _cairn.Handle) -> None:
        self._handle = handle

    @property
    def name(self) -> str:
        """The name. Bytes that are not UTF-8 are lone surrogates, as in Python's paths."""
        return self._handle.name

    @property
    def dtype(self) -> str:
        """The name of the stored dtype: "float32", "bfloat16", "string", or a format's own, such as "F4" or "Q4_K"."""
        return self._handle.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The elements in each dimension; () for a scalar."""
        return self._handle.shape

    @property
    def ndim(self) -> int:
        """How many dimensions."""
        return len(self._handle.shape)

    @property
    def size(self) -> int:
        """How many elements; 1 for a scalar."""
        return self._handle.size

    @property
    def nbytes(self) -> int:
        """How many bytes are stored; of strings with their lengths."""
        return self._handle.nbytes

    @property
    def strides(self) -> tuple[int, ...] | None:
        """The bytes from one element to the next in each dimension. None if an element is not a number of whole bytes
        (packed types, blocks, strings)."""
        dtype = self.numpy_dtype
        if dtype is None:
            return None
        strides, step = [], dtype.itemsize
        for size in reversed(self.shape):
            strides.append(step)
            step *= size
        return tuple(reversed(strides))

    @property
    def numpy_dtype(self) -> np.dtype[Any] | None:
        """What an element is for numpy, with ml_dtypes for bfloat16 and float8. None: strings, and elements that are no
        number of whole bytes."""
        return _dtypes.NUMPY.get(self._handle.dtype)

    @property
    def writable(self) -> bool:
        """Whether its arrays may be written: the checkpoint was opened with access="private"."""
        return self._handle.writable

    @property
    def shard(self) -> str:
        """The name of the file that holds the bytes; "" for a partitioned tensor."""
        return self._handle.shard

    @property
    def offset(self) -> int:
        """Where in that file the bytes begin; 0 for a partitioned tensor."""
        return self._handle.offset

    @property
    def crc32c(self) -> int | None:
        """The stored CRC32C of the bytes, or None."""
        return self._handle.crc32c

    @property
    def content_hash(self) -> bytes | None:
        """The stored XXH3-128 of the contents, or None."""
        return self._handle.content_hash

    def numpy(self) -> Array:
        """All elements as an array of the tensor's shape.

        Without a copy: the array is the mapping, and keeps it. It is read-only, unless the checkpoint was opened with
        access="private"; then it may be written, and a page becomes this process's own when it is written.

        - bfloat16 and float8 have ml_dtypes' dtypes.
        - Packed types ("F4", "INT4", …) are uint8. If the bytes of the last dimension are whole, they take its place,
          else the array has one dimension. unpack() gives one element in each byte.
        - Blocks (of GGUF: "Q4_K", …) are uint8 in one dimension. dequantize() gives float32.
        - Strings are an array of bytes objects, copied.
        - A partitioned tensor whose slices do not follow each other, and big-endian bytes, are copied into a new array.

        Elements may be at addresses that are no multiples of their size, as in files that TensorFlow wrote; numpy
        computes with such arrays (`array.flags.aligned` is False).

        Raises CorruptError if the bytes have a checksum that they do not match; the first use of a tensor reads all of
        it for that, unless the checkpoint was opened with verify="none". IoError if the file cannot be read.
        """
        return self._whole()[0]

    def _whole(self) -> tuple[Array, bool]:
        """All elements, and whether they are a copy."""
        handle = self._handle
        if handle.dtype == "string":
            return self._strings([], handle.shape), True
        try:
            return self._shaped(handle.array(), handle.shape), False
        except UnsupportedError:
            raw = np.empty(handle.read_bytes([]), np.uint8)
            handle.read_into(raw, [])
            return self._shaped(raw, handle.shape), True

    def _shaped(self, raw: Array, shape: tuple[int, ...]) -> Array:
        """An array of the bytes, with the dtype and this shape, as far as numpy has them."""
        dtype = _dtypes.NUMPY.get(self._handle.dtype)
        if dtype is not None:
            return raw.view(dtype).reshape(shape)
        bits = self._handle.bits
        if bits and shape and shape[-1] * bits % 8 == 0:
            return raw.reshape(*shape[:-1], shape[-1] * bits // 8)
        return raw

    def _strings(self, ranges: list[tuple[int, int]], shape: tuple[int, ...]) -> Array:
        array = np.empty(shape, object)
        found = self._handle.strings(ranges)
        if shape == ():
            array[()] = found[0]
        else:
            array.reshape(-1)[:] = found
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """What numpy.asarray() calls. `copy`: None copies if it must, False raises ValueError instead."""
        array, copied = self._whole()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            if copy is False:
                raise ValueError(f"{self.name}: to change {array.dtype} to {np.dtype(dtype)} needs a copy")
            return array.astype(dtype)
        if copy is False and copied:
            raise ValueError(f"{self.name}: an array of it needs a copy")
        return array.copy() if copy and not copied else array

    def __dlpack__(self, *, stream: Any = None, max_version: tuple[int, int] | None = None,
                   dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Any:
        """A DLPack capsule, for from_dlpack() of numpy, PyTorch, JAX, TensorFlow.

        With `max_version` of (1, 0) or more the capsule has a version and says that the memory is read-only. A consumer
        that asks for no version gets one only of memory that may be written: copy=True, or a checkpoint that was opened
        with access="private". Raises BufferError otherwise, for types that DLPack does not have, for elements that are
        not aligned or not in one place (copy=True helps), and for another device than the CPU.
        """
        if dl_device is not None and tuple(dl_device) != _CPU:
            raise BufferError(f"{self.name}: is in the memory of the CPU; copy it to the device there")
        if stream is not None:
            raise BufferError(f"{self.name}: the CPU has no streams")
        return self._handle.dlpack(max_version is not None and max_version[0] >= 1, bool(copy))

    def __dlpack_device__(self) -> tuple[int, int]:
        """(1, 0): the CPU."""
        return _CPU

    def torch(self) -> "_torch.Tensor":
        """All elements as a torch.Tensor, without a copy if the checkpoint was opened with access="private" and the
        elements are aligned, else copied: torch knows no read-only tensors. "F4" is float4_e2m1fn_x2, two elements in
        each. Raises ImportError without torch, UnsupportedError for a dtype that torch does not have."""
        array = self.numpy()
        if not array.flags.writeable or not array.flags.aligned:
            array = array.copy()
        return as_torch(array, self._handle.dtype, self._handle.name)

    def read(self, index: Index = ..., out: Array | None = None) -> Array:
        """Copies the elements, or a slice of them, into `out` or into a new array. Reads the file's bytes of the slice
        only, and checks only what has a checksum of its own; not through the mapping, so that a file that became
        shorter is an IoError.

        `out` is a contiguous array of the slice's shape and dtype. Raises CorruptError, IoError; IndexError and
        TypeError for an index that does not fit; ValueError if `out` does not fit; UnsupportedError (a slice of packed
        elements or of blocks that is no number of whole bytes).
        """
        plan = _Plan(index, self.shape)
        strings = self.dtype == "string"
        if out is not None:
            self._check_out(out, plan.shape if strings or self.numpy_dtype is not None else None)
            if not strings and not plan.stepped:
                self._handle.read_into(out.reshape(-1).view(np.uint8), plan.ranges)
                return out
        made = plan.pick(self._strings(plan.ranges, plan.read_shape) if strings else self._read(plan))
        if out is None:
            return made
        if np.shape(made) != out.shape:  # packed elements
            raise InvalidError("Invalid", 0, f"{self.name}: out must have the shape {np.shape(made)}")
        out[...] = made
        return out

    def _read(self, plan: _Plan) -> Array:
        raw = np.empty(self._handle.read_bytes(plan.ranges), np.uint8)
        self._handle.read_into(raw, plan.ranges)
        return self._shaped(raw, plan.read_shape)

    def _check_out(self, out: Array, shape: tuple[int, ...] | None) -> None:
        wanted = np.dtype(object) if self.dtype == "string" else self.numpy_dtype or np.dtype(np.uint8)
        fits = isinstance(out, np.ndarray) and out.dtype == wanted and (shape is None or out.shape == shape)
        if not fits or not out.flags.c_contiguous or not out.flags.writeable:
            raise InvalidError("Invalid", 0, f"{self.name}: out must be a contiguous, writable array of {wanted}"
                               + (f" and the shape {shape}" if shape is not None else ""))

    def __getitem__(self, index: Index) -> Array:
        """A slice as a new array: integers, slices with a positive step, and an ellipsis. An integer for each dimension
        gives the element, as in numpy. See read()."""
        return self.read(index)

    def unpack(self) -> Array:
        """The elements of a packed type in a new array, one in each byte, with ml_dtypes' dtype and the tensor's shape.
        The first of several elements in a byte is in its lowest bits. Raises UnsupportedError for other types."""
        if self.dtype not in _dtypes.PACKED:
            raise UnsupportedError("Unsupported", 0, f"{self.name}: {self.dtype} is not packed; use numpy()")
        raw = self.numpy().reshape(-1)
        return _dtypes.unpacked(self.dtype, raw, self.size).reshape(self.shape)

    def dequantize(self) -> Array:
        """The elements of a quantized tensor (GGUF's blocks) in a new array of float32, with the tensor's shape. Raises
        UnsupportedError if Cairn does not know the type."""
        return self._handle.dequantize().reshape(self.shape)

    def tobytes(self) -> bytes:
        """The stored bytes, little-endian and row-major; strings in TensorFlow's encoding."""
        raw = np.empty(self._handle.read_bytes([]), np.uint8)
        self._handle.read_into(raw, [])
        return raw.tobytes()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a scalar")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<cairn_store.Tensor {self.name!r} {self.dtype} {list(self.shape)}>"


def as_torch(array: Array, dtype: str, name: str) -> "_torch.Tensor":
    """An array as a torch.Tensor over the same memory. `dtype`: Cairn's name of it; `name`: the tensor's, for errors."""
    import torch

    kind = getattr(torch, {"F8_E8M0": "float8_e8m0fnu", "F4": "float4_e2m1fn_x2"}.get(dtype, dtype), None)
    if not isinstance(kind, torch.dtype):
        raise UnsupportedError("Unsupported", 0, f"{name}: torch has no dtype {dtype}; use numpy()")
    raw = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return raw.view(kind).reshape(array.shape)


class _Plan:
    """What an index reads: one range for each dimension, and what is then picked of it."""

    def __init__(self, index: Index, shape: tuple[int, ...]) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.read_shape: tuple[int, ...] = ()
        self.picked: list[int | slice] = []
        for item, size in zip(_expanded(index, len(shape)), shape):
            self._add(item, size)
        self.read_shape = tuple(count for _, count in self.ranges)
        self.stepped = any(isinstance(item, slice) and item.step not in (None, 1) for item in self.picked)
        self.shape = tuple(len(range(0, count, item.step)) for item, (_, count) in zip(self.picked, self.ranges)
                           if isinstance(item, slice))

    def _add(self, item: SupportsIndex | slice, size: int) -> None:
        if not isinstance(item, slice):
            place = operator.index(item)
            if not -size <= place < size:
                raise IndexError(f"index {place} is out of bounds for a dimension of {size}")
            self.ranges.append((place % size, 1))
            self.picked.append(0)
            return
        start, stop, step = item.indices(size)
        if step < 1:
            raise IndexError("a slice must have a positive step")
        count = max(0, -(-(stop - start) // step))
        self.ranges.append((start if count else 0, (count - 1) * step + 1 if count else 0))
        self.picked.append(slice(None, None, step))

    def pick(self, read: Array) -> Array:
        if not self.picked or read.ndim != len(self.picked):
            return read  # packed elements in one dimension, or all of them
        made: Array = read[tuple(self.picked)]
        return made


def _expanded(index: Index, dimensions: int) -> list[SupportsIndex | slice]:
    """The index with one item for each dimension."""
    given = index if isinstance(index, tuple) else (index,)
    for item in given:
        if item is not ... and not isinstance(item, slice) and not hasattr(item, "__index__"):
            raise TypeError(f"an index is an integer, a slice or an ellipsis, not {type(item).__name__}")
    dots = [place for place, item in enumerate(given) if item is ...]
    if len(dots) > 1:
        raise IndexError("an index has at most one ellipsis")
    before = given[:dots[0]] if dots else given
    after = given[dots[0] + 1:] if dots else ()
    missing = dimensions - len(before) - len(after)
    if missing < 0:
        raise IndexError(f"too many indices: the tensor has {dimensions} dimensions")
    expanded: list[Any] = [*before, *[slice(None)] * missing, *after]
    return expanded
