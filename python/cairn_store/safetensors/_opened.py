"""safe_open, and the slices that it gives."""
from __future__ import annotations

import os
from typing import Any, Optional, Union

from .. import _checkpoint
from .._tensor import Tensor, as_torch
from ._format import CODES, Path, SafetensorError, as_safetensors_raises, by_offset

_FRAMEWORKS = {"pt": "pytorch", "torch": "pytorch", "pytorch": "pytorch", "np": "numpy", "numpy": "numpy",
               "tf": "tensorflow", "tensorflow": "tensorflow", "jax": "flax", "flax": "flax"}


def _made(array: Any, tensor: Tensor, framework: str, device: Union[str, int]) -> Any:
    """An array, or a whole tensor, in the framework that was asked for."""
    if framework == "numpy":
        return array
    if framework == "pytorch":
        import torch

        made = tensor.torch() if array is None else as_torch(array, tensor.dtype, tensor.name)
        return made if device == "cpu" else made.to(torch.device(device))
    array = tensor.numpy() if array is None else array
    if framework == "flax":
        import jax.numpy

        return jax.numpy.asarray(array)
    import tensorflow

    return tensorflow.convert_to_tensor(array)


class PySafeSlice:
    """A tensor of which parts are read by [...]."""

    def __init__(self, tensor: Tensor, framework: str, device: Union[str, int]) -> None:
        self._tensor = tensor
        self._framework = framework
        self._device = device

    def get_shape(self) -> list[int]:
        """The shape of the whole tensor."""
        return list(self._tensor.shape)

    def get_dtype(self) -> str:
        """The dtype as the file has it: "F32", "BF16", …"""
        return CODES.get(self._tensor.dtype, self._tensor.dtype)

    def __getitem__(self, index: Any) -> Any:
        """Reads this part only. Integers, slices with a positive step, an ellipsis; [] is nothing."""
        shape = self._tensor.shape
        if isinstance(index, list):
            if index:
                raise SafetensorError("Non empty lists are not implemented")
            index = slice(0, 0)
        items = index if isinstance(index, tuple) else (index,)
        _check_items(items, shape)
        with as_safetensors_raises():
            return _made(self._tensor.read(items), self._tensor, self._framework, self._device)


def _check_items(items: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Raises what safetensors raises, for what numpy would shorten or refuse in other words."""
    if sum(item is ... for item in items) > 1:
        raise SafetensorError("Only one ellipsis (...) is allowed in slice index")
    shown: list[str] = []
    bad: list[tuple[int, int]] = []  # dimension and index
    for item in _without_ellipsis(items, len(shape)):
        place = len(shown)
        size = shape[place] if place < len(shape) else 0
        if isinstance(item, slice):
            shown.append(_shown(item))
            start, stop = item.start or 0, size if item.stop is None else item.stop
            if (start >= size and size) or stop > size:
                bad.append((place, start if start >= size else stop - 1))
        elif hasattr(item, "__index__"):
            chosen = int(item)
            if chosen < -size:
                raise SafetensorError(f"Invalid index {chosen} for dimension {place} of size {size}")
            chosen += size if chosen < 0 else 0
            shown.append(str(chosen))
            if chosen >= size:
                bad.append((place, chosen))
        else:
            raise SafetensorError(f"Unsupported slice index at position {place}: expected slice, int, or ellipsis")
    begin = f"Error during slicing [{', '.join(shown)}] with shape {list(shape)}: "
    if len(shown) > len(shape):
        raise SafetensorError(begin + "more slicing indexes than dimensions in tensor")
    if bad:  # safetensors goes through the dimensions from the last on
        place, asked = bad[-1]
        raise SafetensorError(
            begin + f"index {asked} out of bounds for tensor dimension #{place} of size {shape[place]}")


def _without_ellipsis(items: tuple[Any, ...], dimensions: int) -> list[Any]:
    made: list[Any] = []
    for item in items:
        made += [slice(None)] * max(0, dimensions - len(items) + 1) if item is ... else [item]
    return made


def _shown(item: slice) -> str:
    step = 1 if item.step is None else item.step
    if step < 1:
        raise SafetensorError(f"Slice step must be a positive integer, got {step}")
    ends = ["" if end is None else str(end) for end in (item.start, item.stop)]
    return ":".join(ends if step == 1 else [*ends, str(step)])


class safe_open:
    """Opens a file of safetensors, and reads no tensor. A context manager; after it, only the tensors that were taken
    can be used.

    Args:
        filename: the file.
        framework: "np", "pt", "tf" or "jax": what get_tensor() gives.
        device: where torch puts the tensors; "cpu": they are the file.
        backend: "mmap", or "pread": tensors are read into memory of their own.

    Raises FileNotFoundError; SafetensorError for a file that is no safetensors file or is damaged.
    """

    def __init__(self, filename: Path, framework: str, device: Union[str, int, None] = "cpu", *,
                 backend: str = "mmap") -> None:
        if framework not in _FRAMEWORKS:
            raise SafetensorError(f"framework {framework} is invalid")
        if backend not in ("mmap", "pread"):
            raise SafetensorError(f'backend "{backend}" is invalid (expected one of: "mmap", "pread")')
        self._framework = _FRAMEWORKS[framework]
        self._device: Union[str, int] = "cpu" if device is None else device
        if self._device != "cpu" and self._framework != "pytorch":
            raise SafetensorError(f"Device {device} is not supported for framework {self._framework}")
        self._reads = backend == "pread"
        self._checkpoint: Optional[_checkpoint.Checkpoint] = _opened(filename)

    def _open(self) -> _checkpoint.Checkpoint:
        if self._checkpoint is None:
            raise SafetensorError("File is closed")
        return self._checkpoint

    def _tensor(self, name: str) -> Tensor:
        checkpoint = self._open()
        if name not in checkpoint:
            raise SafetensorError(f"File does not contain tensor {name}", "NotFound")
        return checkpoint[name]

    def keys(self) -> list[str]:
        """The names, sorted."""
        return self._open().names()

    def offset_keys(self) -> list[str]:
        """The names in the order of the file."""
        return [tensor.name for tensor in by_offset(self._open())]

    def metadata(self) -> Optional[dict[str, str]]:
        """The `__metadata__` of the file, or None."""
        return self._open().safetensors_metadata or None

    def _value(self, tensor: Tensor) -> Any:
        with as_safetensors_raises():
            if self._reads:
                return _made(tensor.read(), tensor, self._framework, self._device)
            whole = tensor.numpy() if self._framework == "numpy" else None
            return _made(whole, tensor, self._framework, self._device)

    def get_tensor(self, name: str) -> Any:
        """The tensor, in the framework and on the device that were asked for."""
        return self._value(self._tensor(name))

    def get_tensors(self) -> dict[str, Any]:
        """All tensors, by name, in the order of the file."""
        tensors = by_offset(self._open())
        if self._framework == "numpy" and not self._reads:
            with as_safetensors_raises():
                return {tensor.name: tensor.numpy() for tensor in tensors}
        return {tensor.name: self._value(tensor) for tensor in tensors}

    def get_slice(self, name: str) -> PySafeSlice:
        """The tensor, to be read in part: f.get_slice("w")[:, :8]."""
        return PySafeSlice(self._tensor(name), self._framework, self._device)

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *_: object) -> None:
        self._checkpoint = None


def _opened(filename: Path) -> _checkpoint.Checkpoint:
    # All links: who names a file by a path trusts it, as with open(). Verify "full" reads only what has checksums.
    try:
        with as_safetensors_raises():
            return _checkpoint.open(filename, access="private", follow_links=True)
    except SafetensorError as error:
        if error.code == "NotFound" and not os.path.exists(filename):
            raise FileNotFoundError(f"No such file or directory: {os.fspath(filename)}") from error
        raise SafetensorError(f"Error while deserializing header: {error}", error.code, error.os_errno) from error


def _safe_open_handle(handle: Any, framework: str, device: Union[str, int, None] = "cpu") -> safe_open:
    """safe_open of a file that is open already."""
    return safe_open(f"/proc/self/fd/{handle.fileno()}", framework, device)
