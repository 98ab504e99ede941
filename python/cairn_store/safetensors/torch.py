"""safetensors.torch, over Cairn: tensors are the mapped file, copy-on-write."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Optional, Union

import torch

from .._tensor import as_torch
from ._format import CAIRN_OF, Path, SafetensorError, TensorSpec, load_array, parsed
from ._format import serialize as _serialize
from ._format import serialize_file as _serialize_file
from ._opened import safe_open

Tensors = dict[str, Any]


def storage_ptr(tensor: Any) -> int:
    """The address of the tensor's storage."""
    return int(tensor.untyped_storage().data_ptr())


def storage_size(tensor: Any) -> int:
    """The bytes of the tensor's storage."""
    return int(tensor.untyped_storage().nbytes())


def _end_ptr(tensor: Any) -> int:
    if tensor.nelement() == 0:
        return int(tensor.data_ptr())
    return int(tensor.view(-1)[-1].data_ptr()) + int(tensor.element_size())


def _find_shared_tensors(state_dict: Tensors) -> list[set[str]]:
    """The names in groups, each of tensors that share memory."""
    storages: dict[Any, list[str]] = defaultdict(list)
    for name, tensor in state_dict.items():
        if tensor.device != torch.device("meta") and storage_ptr(tensor) != 0 and storage_size(tensor) != 0:
            storages[(str(tensor.device), storage_ptr(tensor), storage_size(tensor))].append(name)
    groups: list[set[str]] = []
    for names in storages.values():
        if len(names) == 1:
            groups.append(set(names))
            continue
        areas = sorted((state_dict[name].data_ptr(), _end_ptr(state_dict[name]), name) for name in names)
        end = -1
        for start, stop, name in areas:
            if start >= end:
                groups.append(set())
            groups[-1].add(name)
            end = max(end, stop)
    return groups


def _is_complete(tensor: Any) -> bool:
    whole = tensor.nelement() * tensor.element_size() == storage_size(tensor)
    return bool(whole and tensor.data_ptr() == storage_ptr(tensor))


def _remove_duplicate_names(state_dict: Tensors, *, preferred_names: Optional[Iterable[str]] = None,
                            discard_names: Optional[Iterable[str]] = None) -> dict[str, list[str]]:
    """For each name that is kept, the names of tensors that are the same."""
    removed: dict[str, list[str]] = {}
    for shared in _find_shared_tensors(state_dict):
        complete = {name for name in shared if _is_complete(state_dict[name])}
        if not complete:
            raise RuntimeError("Error while trying to find names to remove to save state dict, but found no suitable"
                               f" name to keep for saving amongst: {shared}. None is covering the entire storage.")
        wanted = complete & set(preferred_names or ()) or complete - set(discard_names or ()) or complete
        keep = min(wanted)
        if others := sorted(shared - {keep}):
            removed[keep] = others
    return removed


def _flatten(tensors: Tensors, keep_alive: list[Any]) -> dict[str, TensorSpec]:
    """The specs of tensors. Raises ValueError and RuntimeError for what a file cannot hold, as safetensors does."""
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    sparse = [name for name, tensor in tensors.items() if getattr(tensor, "layout", None) not in (None, torch.strided)]
    if sparse:
        raise ValueError(f"You are trying to save a sparse tensors: `{sparse}` which this library does not support. You"
                         " can make it a dense tensor before saving with `.to_dense()` but be aware this might make a"
                         " much larger file than needed.")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
        if not tensor.is_contiguous():
            raise ValueError(f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. Call"
                             " `.contiguous()` before you save it.")
    shared = [names for names in _find_shared_tensors(tensors) if len(names) > 1]
    if shared:
        raise RuntimeError(f"Some tensors share memory, which a file would hold twice: {shared}. Use `save_model`,"
                           " which writes one of them.")
    specs = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        keep_alive.append(plain)
        specs[name] = TensorSpec(dtype=str(plain.dtype).removeprefix("torch."), shape=plain.shape,
                                 data_ptr=plain.data_ptr(), data_len=plain.nelement() * plain.element_size())
    return specs


def save(tensors: Tensors, metadata: Optional[dict[str, str]] = None) -> bytes:
    """The bytes of a safetensors file with these tensors, and the texts of `metadata`."""
    keep_alive: list[Any] = []
    return _serialize(_flatten(tensors, keep_alive), metadata)


def save_file(tensors: Tensors, filename: Path, metadata: Optional[dict[str, str]] = None) -> None:
    """Writes a safetensors file with these tensors. Raises ValueError (sparse, not contiguous), RuntimeError (tensors
    that share memory), SafetensorError, OSError."""
    keep_alive: list[Any] = []
    _serialize_file(_flatten(tensors, keep_alive), filename, metadata)


def load(data: bytes) -> Tensors:
    """The tensors of the bytes of a safetensors file."""
    buffer = bytearray(memoryview(data))  # of a number it would be so many zeros
    return {entry.name: as_torch(load_array(buffer, entry), CAIRN_OF[entry.code], entry.name) for entry in parsed(buffer)}


def load_file(filename: Path, device: Union[str, int] = "cpu", *, backend: str = "mmap") -> Tensors:
    """The tensors of a safetensors file, by name, on a device. On the CPU they are the file, copy-on-write."""
    with safe_open(filename, "pt", device, backend=backend) as opened:
        return opened.get_tensors()


def save_model(model: Any, filename: Path, metadata: Optional[dict[str, str]] = None,
               force_contiguous: bool = True) -> None:
    """Writes the state of a torch.nn.Module. Of tensors that share memory one is written, and `metadata` names it for
    the others."""
    state = model.state_dict()
    for kept, others in _remove_duplicate_names(state).items():
        metadata = {} if metadata is None else metadata
        for other in others:
            metadata.setdefault(other, kept)
            del state[other]
    if force_contiguous:
        state = {name: tensor.contiguous() for name, tensor in state.items()}
    try:
        save_file(dict(state), filename, metadata)
    except ValueError as error:
        raise ValueError(f"{error} Or use save_model(..., force_contiguous=True).") from error


def load_model(model: Any, filename: Path, strict: bool = True, device: Union[str, int] = "cpu", *,
               backend: str = "mmap") -> tuple[list[str], list[str]]:
    """Loads a file into a torch.nn.Module. Returns the missing and the unexpected names; with `strict` they are a
    RuntimeError."""
    loaded = load_file(filename, device, backend=backend)
    removed = _remove_duplicate_names(model.state_dict(), preferred_names=loaded.keys())
    missing_keys, unexpected = model.load_state_dict(loaded, strict=False)
    missing = set(missing_keys)
    for other in (other for others in removed.values() for other in others):
        if other in missing:
            missing.remove(other)
        else:
            unexpected.append(other)
    if strict and (missing or unexpected):
        told = f"Error(s) in loading state_dict for {model.__class__.__name__}:"
        for word, names in (("Missing", missing), ("Unexpected", unexpected)):
            if names:
                told += f"\n    {word} key(s) in state_dict: " + ", ".join(f'"{name}"' for name in sorted(names))
        raise RuntimeError(told)
    return sorted(missing), unexpected


__all__ = ["SafetensorError", "load", "load_file", "load_model", "save", "save_file", "save_model"]
