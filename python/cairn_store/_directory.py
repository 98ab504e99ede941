"""A directory of checkpoints over time: the catalog, the Saver, the Watcher."""
from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import _cairn
from ._checkpoint import Path, Progress
from ._writing import Tensors, incoming_all


def latest_checkpoint(directory: Path, latest_filename: str = "checkpoint") -> str | None:
    """The latest checkpoint of the directory's catalog, as TensorFlow's function of this name; None if there is none.
    Raises CorruptError, IoError."""
    return _cairn.latest_checkpoint(os.fsencode(directory), latest_filename)


@dataclass(frozen=True)
class Retention:
    """A rule that says which checkpoints stay. Made by newest(), every_steps(), every_hours() and best_by()."""

    rule: tuple[Any, ...]


def newest(count: int) -> Retention:
    """The newest `count` checkpoints stay."""
    return Retention(("newest", count))


def every_steps(steps: int) -> Retention:
    """Those whose step is a multiple stay."""
    return Retention(("steps", steps))


def every_hours(hours: float) -> Retention:
    """The first stays, then each that is this much younger."""
    return Retention(("hours", hours))


def best_by(metric: str, count: int, *, highest: bool = False) -> Retention:
    """The `count` best by a metric that was given to save() stay; the lowest are best, or with `highest` the highest."""
    return Retention(("best", metric, highest, count))


def tensorflow_saver(max_to_keep: int = 5, keep_every_hours: float = 0) -> Retention:
    """The rule of tf.compat.v1.train.Saver; must be the only one."""
    return Retention(("tensorflow_saver", max_to_keep, keep_every_hours))


def tensorflow_manager(max_to_keep: int, keep_every_hours: float = 0) -> Retention:
    """The rule of tf.train.CheckpointManager; must be the only one."""
    return Retention(("tensorflow_manager", max_to_keep, keep_every_hours))


@dataclass(frozen=True)
class Saved:
    """What a save did.

    Attributes:
        path: the prefix of the new checkpoint.
        kept: what the catalog lists now, oldest first.
        deleted: what retention removed.
        warnings: what the user should know and what is no error.
    """

    path: str
    kept: list[str]
    deleted: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class RetentionDecision:
    """What retention decides about one checkpoint.

    Attributes:
        path: the checkpoint.
        kept: whether it stays.
        why: the reason, one sentence.
    """

    path: str
    kept: bool
    why: str


class PendingSave:
    """A save that runs in the background."""

    def __init__(self, pending: _cairn.PendingSave) -> None:
        self._pending = pending

    def done(self) -> bool:
        """Whether wait() would return at once."""
        return self._pending.done()

    def wait(self) -> Saved:
        """Waits until the save has ended. Raises the exceptions of Saver.save()."""
        return Saved(*self._pending.wait())


class Saver:
    """Saves one checkpoint after the other into a directory, keeps the catalog, removes old checkpoints.

    Args:
        directory: created if it is missing.
        keep: rules; a checkpoint stays as long as one of them keeps it. Empty: every checkpoint stays.
        latest_filename: the catalog's name.
        tensorflow_index: also write P.index.
        lock_wait: seconds to wait for another writer, then BusyError.

    Threads: one call at a time; a second one, also of a progress callback, raises BusyError. A forked child must not use it.
    """

    def __init__(self, directory: Path, keep: Iterable[Retention] = (newest(5),), *, latest_filename: str = "checkpoint",
                 tensorflow_index: bool = True, lock_wait: float = 30) -> None:
        words = {"latest_filename": latest_filename, "tensorflow_index": tensorflow_index, "lock_wait": lock_wait}
        self._saver = _cairn.Saver.open(os.fsencode(directory), [one.rule for one in keep], words)

    @staticmethod
    def _words(step: int | None, metrics: Mapping[str, float] | None, metadata: Mapping[str, str] | None,
               safetensors_metadata: Mapping[str, str] | None, pinned: bool, replace: bool) -> dict[str, Any]:
        return {"step": step, "metrics": dict(metrics or {}), "metadata": dict(metadata or {}),
                "safetensors_metadata": dict(safetensors_metadata or {}), "pinned": pinned, "replace": replace}

    def save(self, name: str, tensors: Tensors, *, step: int | None = None, metrics: Mapping[str, float] | None = None,
             metadata: Mapping[str, str] | None = None, safetensors_metadata: Mapping[str, str] | None = None,
             pinned: bool = False, replace: bool = True, threads: int = 0, progress: Progress | None = None) -> Saved:
        """Writes the checkpoint NAME-STEP, then the catalog, then removes what retention does not keep. When it
        returns, the checkpoint survives a power cut. Raises BusyError, ExistsError, and what save() raises."""
        words = self._words(step, metrics, metadata, safetensors_metadata, pinned, replace)
        return Saved(*self._saver.save(name, incoming_all(tensors), words, threads, progress))

    def save_async(self, name: str, tensors: Tensors, *, step: int | None = None,
                   metrics: Mapping[str, float] | None = None, metadata: Mapping[str, str] | None = None,
                   safetensors_metadata: Mapping[str, str] | None = None, pinned: bool = False,
                   replace: bool = True) -> PendingSave:
        """The same in a thread of its own, at idle priority for up to ten seconds. When it returns, the tensors are copied
        or written and may change. The Saver keeps the memory for the copies: at most 4 GiB, and at most half of what is
        available. The first save also waits for the kernel to clear it."""
        words = self._words(step, metrics, metadata, safetensors_metadata, pinned, replace)
        return PendingSave(self._saver.save_async(name, incoming_all(tensors), words))

    def checkpoints(self) -> list[str]:
        """The checkpoints that the catalog lists, oldest first."""
        return self._saver.last_checkpoints()

    def pin(self, path: Path, pinned: bool = True) -> None:
        """Pins a checkpoint, so that retention never removes it, or unpins it."""
        self._saver.pin(os.fsencode(path), pinned)

    def prune(self, dry_run: bool = False) -> list[RetentionDecision]:
        """Removes what retention does not keep, and says what it decides about each, oldest first."""
        return [RetentionDecision(*one) for one in self._saver.prune(dry_run)]


class Watcher(Iterator[str]):
    """Waits for checkpoints that another process publishes in a directory: an iterator of their paths.

        for path in cairn_store.Watcher("saved", timeout=60):
            weights = cairn_store.open(path)

    Args:
        directory: may be created later.
        timeout: seconds to wait for the next checkpoint, after which the iteration ends. None: for ever.
        only_latest: as TensorFlow's checkpoints_iterator: only the latest, and not whether it is whole.
        cursor: what `cursor` of an earlier Watcher was; it goes on after that.
        poll: seconds between two looks if the file system does not tell of changes.

    Threads: one wait at a time; a second one raises BusyError. `cursor` may be asked meanwhile.
    """

    def __init__(self, directory: Path, *, timeout: float | None = None, only_latest: bool = False, cursor: str = "",
                 latest_filename: str = "checkpoint", poll: float = 1.0) -> None:
        words = {"cursor": cursor, "only_latest": only_latest, "latest_filename": latest_filename, "poll": poll}
        self._watcher = _cairn.Watcher.open(os.fsencode(directory), words)
        self.timeout = timeout
        self.skipped: list[tuple[str, str]] = []  # path and reason, of what the last wait skipped

    def wait(self, timeout: float | None) -> str | None:
        """The next checkpoint, or None after `timeout` seconds. Ctrl-C ends it. Raises CorruptError, IoError."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        self.skipped = []
        while True:
            left = max(0.0, end - time.monotonic())
            path, skipped = self._watcher.next(min(left, 0.25))
            self.skipped += skipped
            if path is not None or left <= 0.25:
                return path

    def __next__(self) -> str:
        path = self.wait(self.timeout)
        if path is None:
            raise StopIteration
        return path

    @property
    def cursor(self) -> str:
        """Store it after the checkpoint is processed: a later Watcher goes on with the next."""
        return self._watcher.cursor
