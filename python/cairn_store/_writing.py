"""Saving and converting."""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from . import _cairn, _dtypes
from ._checkpoint import Path, Progress
from ._tensor import Array, Tensor

Tensors = Mapping[str, Any]


def incoming(name: str, given: Any) -> tuple[Any, ...]:
    """A tensor as the extension module takes it: name, dtype, shape, layout, bytes."""
    if isinstance(given, Tensor):
        if given.dtype == "string":
            return name, "string", given.shape, None, given.numpy().reshape(-1).tolist()
        raw = given.numpy().reshape(-1).view(np.uint8)
        return name, given.dtype, given.shape, given._handle.opaque, raw
    array = _array(given)
    if array.dtype.kind in "OSU":
        return name, "string", array.shape, None, [_string(name, item) for item in array.reshape(-1).tolist()]
    dtype, opaque = _dtypes.name_of(array.dtype)
    little = array if array.dtype.byteorder != ">" else array.astype(array.dtype.newbyteorder("<"))
    return name, dtype, array.shape, opaque, np.ascontiguousarray(little).reshape(-1).view(np.uint8)


def _array(given: Any) -> Array:
    """An array of what was given; torch's bfloat16 and float8, which numpy does not know, by their bytes."""
    if type(given).__module__.partition(".")[0] == "torch":
        import torch

        plain = given.detach().cpu().contiguous()
        name = str(plain.dtype).removeprefix("torch.").replace("float8_e8m0fnu", "F8_E8M0")
        kind = _dtypes.NUMPY.get(name)
        if kind is None:
            raise TypeError(f"a checkpoint cannot hold {plain.dtype}")
        raw: Array = plain.reshape(-1).view(torch.uint8).numpy()
        return raw.view(kind).reshape(tuple(plain.shape))
    return np.asarray(given)


def _string(name: str, item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if not isinstance(item, bytes):
        raise TypeError(f"{name}: an array of objects must hold bytes or str, not {type(item).__name__}")
    return item


def incoming_all(tensors: Tensors) -> list[tuple[Any, ...]]:
    return [incoming(name, given) for name, given in tensors.items()]


def save(path: Path, tensors: Tensors, *, step: int | None = None, metadata: Mapping[str, str] | None = None,
         safetensors_metadata: Mapping[str, str] | None = None, tensorflow_index: bool = True, replace: bool = True,
         lock_wait: float = 30, threads: int = 0, progress: Progress | None = None) -> list[str]:
    """Writes a checkpoint under the prefix `path`, which Cairn, TensorFlow and safetensors can read. Returns warnings.

    Args:
        tensors: names to arrays (numpy, with ml_dtypes; torch; tensors of a checkpoint; numbers). Arrays of bytes or
            str are string tensors.
        step: the step of training.
        metadata: texts, stored beside the tensors.
        safetensors_metadata: the `__metadata__` of safetensors.
        tensorflow_index: also write P.index, so that TensorFlow opens the checkpoint.
        replace: False: ExistsError if the prefix has a checkpoint.
        lock_wait: seconds to wait for another writer of the prefix.
        threads: as in open().
        progress: as in open().

    Until it returns, an older checkpoint of the prefix stays whole; afterwards the new one survives a power cut. Raises
    ExistsError, InvalidError, BusyError, IoError, NoSpaceError, UnsupportedError; TypeError for a dtype that no
    checkpoint can hold.
    """
    options = {"step": step, "metadata": dict(metadata or {}), "replace": replace, "lock_wait": lock_wait,
               "safetensors_metadata": dict(safetensors_metadata or {}), "tensorflow_index": tensorflow_index}
    return _cairn.save(os.fsencode(path), incoming_all(tensors), options, threads, progress)


@dataclass(frozen=True)
class Transfer:
    """What convert(), import_index() and export_index() did.

    Attributes:
        path: opens the result.
        link: how the payload got its name; "auto" if it stayed where it is.
        payload_bytes_copied: how many bytes of tensors were written.
        tensors_left_out: names that the target cannot hold.
        metadata_left_out: keys that the target cannot hold.
        safetensors_metadata_left_out: the same of the `__metadata__` of safetensors.
        warnings: what the user should know and what is no error.
    """

    path: str
    link: str
    payload_bytes_copied: int
    tensors_left_out: list[str]
    metadata_left_out: list[str]
    safetensors_metadata_left_out: list[str]
    warnings: list[str]


def _transfer(work: str, source: Path, target: str, words: dict[str, Any], threads: int,
              progress: Progress | None) -> Transfer:
    options = {"output": None, "link": "auto", "replace": False, "follow_links": False, "allow_lossy": False,
               "max_shard_bytes": 0, "sums": True, "casts": {}, "tensors": None, **words}
    if options["output"] is not None:
        options["output"] = os.fsencode(options["output"])
    return Transfer(*_cairn.transfer(work, os.fsencode(source), target, options, threads, progress))


def convert(source: Path, output: Path, format: Literal["cairn", "tensorflow", "safetensors", "npz", "npy"] = "cairn",
            *, tensors: Iterable[str] | None = None, casts: Mapping[str, str] | None = None, max_shard_bytes: int = 0,
            allow_lossy: bool = False, replace: bool = False, follow_links: bool = False, threads: int = 0,
            progress: Progress | None = None) -> Transfer:
    """Rewrites any checkpoint that open() opens in another format. Every byte is checked while it is copied.

    Args:
        tensors: only these; None: all.
        casts: new dtypes, such as {"float32": "bfloat16"}.
        max_shard_bytes: for "safetensors": write a directory of files of at most this size, as the Hugging Face
            libraries do.
        allow_lossy: leave out what the target cannot hold; the result names it. False: UnsupportedError.
        replace: False: ExistsError if the output exists.

    Raises the exceptions of open() and save().
    """
    words = {"output": output, "tensors": None if tensors is None else list(tensors), "casts": dict(casts or {}),
             "max_shard_bytes": max_shard_bytes, "allow_lossy": allow_lossy, "replace": replace,
             "follow_links": follow_links}
    return _transfer("convert", source, format, words, threads, progress)


def import_index(source: Path, *, output: Path | None = None, sums: bool = True, allow_lossy: bool = False,
                 replace: bool = False, follow_links: bool = False, threads: int = 0,
                 progress: Progress | None = None) -> Transfer:
    """Adds Cairn's index to a checkpoint of another format, and moves no tensor byte. Beside a file it is FILE.cairn,
    with checksums and hashes; from then on open() opens the file by it. `sums=False`: read no tensor, store no sums."""
    words = {"output": output, "sums": sums, "allow_lossy": allow_lossy, "replace": replace,
             "follow_links": follow_links}
    return _transfer("import", source, "", words, threads, progress)


def export_index(source: Path, format: Literal["tensorflow", "safetensors"], *, output: Path | None = None,
                 link: Literal["auto", "hard", "reflink", "copy"] = "auto", allow_lossy: bool = False,
                 replace: bool = False, follow_links: bool = False, threads: int = 0,
                 progress: Progress | None = None) -> Transfer:
    """Adds the index of another format to a checkpoint, and moves no tensor byte unless `output` cannot be linked.
    Raises UnsupportedError if the layout of the bytes does not fit; then use convert()."""
    words = {"output": output, "link": link, "allow_lossy": allow_lossy, "replace": replace,
             "follow_links": follow_links}
    return _transfer("export", source, format, words, threads, progress)
