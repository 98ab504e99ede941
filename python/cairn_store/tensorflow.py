"""TensorFlow's names for reading checkpoints and for keeping the last few, over Cairn; TensorFlow is not needed.

    from cairn_store.tensorflow import load_checkpoint      # was: from tensorflow.train import load_checkpoint

What differs: arrays are the mapped file, copy-on-write, and may be written; strings are arrays of bytes. dtypes are
numpy's, with ml_dtypes; object for strings. Errors are those of cairn_store: a name that is not there is a KeyError, a
damaged file a CorruptError. The functions open every format that Cairn opens.
"""
from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional, Union

import numpy as np

from . import _cairn, _checkpoint, _directory
from ._tensor import Tensor

Path = Union[str, "os.PathLike[str]"]


class CheckpointReader:
    """Reads the tensors of one checkpoint, as tf.train.load_checkpoint's does."""

    def __init__(self, filename: Path) -> None:
        # All links, as TensorFlow does.
        self._checkpoint = _checkpoint.open(filename, access="private", follow_links=True)

    def has_tensor(self, tensor_str: str) -> bool:
        """Whether there is a tensor of this name."""
        return tensor_str in self._checkpoint

    def get_tensor(self, tensor_str: str) -> Any:
        """The tensor as an array; a scalar as numpy's scalar, of a string as bytes. Raises TensorNotFoundError,
        CorruptError."""
        array = self._checkpoint[tensor_str].numpy()
        return array if array.ndim else array[()]

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Each name, and the shape as a list."""
        return {tensor.name: list(tensor.shape) for tensor in self._checkpoint.tensors()}

    def get_variable_to_dtype_map(self) -> dict[str, np.dtype[Any]]:
        """Each name, and numpy's dtype."""
        return {tensor.name: _dtype(tensor) for tensor in self._checkpoint.tensors()}

    def debug_string(self) -> str:
        """A line for each tensor: name, dtype, shape."""
        return "".join(f"{tensor.name} ({tensor.dtype}) {list(tensor.shape)}\n"
                       for tensor in self._checkpoint.tensors())


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    if tensor.dtype == "string":
        return np.dtype(object)
    return tensor.numpy_dtype or np.dtype(np.uint8)


def load_checkpoint(ckpt_dir_or_file: Path) -> CheckpointReader:
    """A reader of a checkpoint, or of the latest of a directory. Raises ValueError if the directory has none."""
    if os.path.isdir(ckpt_dir_or_file):
        found = latest_checkpoint(ckpt_dir_or_file)
        if found is None:
            raise ValueError(f"Couldn't find 'checkpoint' file or checkpoints in given directory {ckpt_dir_or_file}")
        return CheckpointReader(found)
    return CheckpointReader(ckpt_dir_or_file)


def list_variables(ckpt_dir_or_file: Path) -> list[tuple[str, list[int]]]:
    """The name and the shape of each tensor, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: Path, name: str) -> Any:
    """One tensor as an array. As in TensorFlow, ":0" at the end of the name is left out."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def latest_checkpoint(checkpoint_dir: Path, latest_filename: Optional[str] = None) -> Optional[str]:
    """The latest checkpoint of the directory's catalog, or None."""
    return _directory.latest_checkpoint(checkpoint_dir, latest_filename or "checkpoint")


@dataclass(frozen=True)
class CheckpointState:
    """The catalog, with the names of TensorFlow's message."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: list[str]
    all_model_checkpoint_timestamps: list[float]
    last_preserved_timestamp: float


def get_checkpoint_state(checkpoint_dir: Path, latest_filename: Optional[str] = None) -> Optional[CheckpointState]:
    """The catalog of a directory, or None if there is none. Raises CorruptError if it cannot be read as one."""
    found = _cairn.checkpoint_state(os.fsencode(checkpoint_dir), latest_filename or "checkpoint")
    return None if found is None else CheckpointState(*found)


def checkpoints_iterator(checkpoint_dir: Path, min_interval_secs: float = 0, timeout: Optional[float] = None,
                         timeout_fn: Optional[Callable[[], bool]] = None) -> Iterator[str]:
    """Gives the latest checkpoint each time it is another, as TensorFlow's: it waits at most `timeout` seconds for one,
    then asks `timeout_fn` whether to end, and ends if there is none."""
    watcher = _directory.Watcher(checkpoint_dir, only_latest=True)
    while True:
        path = watcher.wait(timeout)
        if path is None:
            if timeout_fn is None or timeout_fn():
                return
            continue
        given = time.monotonic()
        yield path
        time.sleep(max(0.0, given + min_interval_secs - time.monotonic()))


Checkpointed = Union[Mapping[str, Any], Callable[[], Mapping[str, Any]]]


class CheckpointManager:
    """Keeps the last checkpoints of a directory, by the algorithm of tf.train.CheckpointManager.

    Args:
        checkpoint: the tensors that save() saves: a mapping of names to arrays, or a function that returns one. (In
            TensorFlow this is a tf.train.Checkpoint, which has no meaning without TensorFlow.)
        directory: where; created if it is missing.
        max_to_keep: how many stay; None: all.
        keep_checkpoint_every_n_hours: a checkpoint that is to be removed stays for ever if it is so much younger than
            the last that stayed so.
        checkpoint_name: the first part of the names.

    Unlike TensorFlow's, a new process goes on with the list and the time grid of the one before.
    """

    def __init__(self, checkpoint: Checkpointed, directory: Path, max_to_keep: Optional[int],
                 keep_checkpoint_every_n_hours: Optional[float] = None, checkpoint_name: str = "ckpt") -> None:
        if max_to_keep is not None and max_to_keep <= 0:
            raise ValueError("The argument `max_to_keep` must be greater than 0 or `None`.")
        self._checkpoint = checkpoint
        self._directory = os.fspath(directory)
        self._name = checkpoint_name
        rule = _directory.tensorflow_manager(max_to_keep or 0, keep_checkpoint_every_n_hours or 0)
        self._saver = _directory.Saver(directory, [rule])

    @property
    def directory(self) -> str:
        """Where the checkpoints are."""
        return self._directory

    @property
    def checkpoints(self) -> list[str]:
        """Those that the catalog lists, oldest first."""
        return self._saver.checkpoints()

    @property
    def latest_checkpoint(self) -> Optional[str]:
        """The newest, or None."""
        return latest_checkpoint(self._directory)

    def save(self, checkpoint_number: Optional[int] = None) -> str:
        """Saves the tensors as NAME-NUMBER and removes what does not stay. Returns the path. Without a number it is one
        more than that of the latest. Raises what Saver.save() raises."""
        if checkpoint_number is None:
            latest = re.search(r"-(\d+)$", self.latest_checkpoint or "")
            checkpoint_number = int(latest.group(1)) + 1 if latest else 1
        tensors = self._checkpoint() if callable(self._checkpoint) else self._checkpoint
        return self._saver.save(self._name, tensors, step=checkpoint_number).path
