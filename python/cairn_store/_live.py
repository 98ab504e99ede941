"""A model that is replaced while requests use it."""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import _cairn
from ._checkpoint import Checkpoint, Expected, Path, _specs


class Snapshot:
    """A checkpoint that was published, and its model. Keep it for as long as a request runs."""

    __slots__ = ("_snapshot",)

    def __init__(self, snapshot: _cairn.Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint. Its arrays live as long as you keep them; its pages stay in memory as long as the snapshot."""
        return Checkpoint(self._snapshot.opened())

    @property
    def model(self) -> Any:
        """What `prepare` returned; None if there is no `prepare`."""
        return self._snapshot.model

    @property
    def generation(self) -> int:
        """1 for the first checkpoint that was published, then 2, and so on."""
        return self._snapshot.generation

    def __repr__(self) -> str:
        return f"<cairn_store.Snapshot {self.generation} of {self.checkpoint.path!r}>"


@dataclass(frozen=True)
class Quarantined:
    """A checkpoint that is not published, as long as its files stay as they are.

    Attributes:
        path: the checkpoint.
        code: as in CairnError.
        why: the reason, one sentence.
    """

    path: str
    code: str
    why: str


@dataclass(frozen=True)
class LiveStatus:
    """What a Live has done and does.

    Attributes:
        state: "idle", "opening", "checking", "populating" or "preparing".
        generation: of the current checkpoint; 0: there is none yet.
        path: the current checkpoint.
        warnings: about it.
        rollback: what rollback() would publish; "": nothing.
        candidate: what is brought in at present; "": nothing.
        done_bytes: how much of it.
        total_bytes: of how much.
        swaps: how many checkpoints were published.
        rejected: how many were not.
        rollbacks: how often one was rolled back.
        released: how many earlier ones have given their pages back.
        retired: how many earlier ones are still held by snapshots.
        quarantine: what is not published, oldest first.
        last_error: what is not about one checkpoint, such as a catalog that cannot be read.
    """

    state: str
    generation: int
    path: str
    warnings: list[str]
    rollback: str
    candidate: str
    done_bytes: int
    total_bytes: int
    swaps: int
    rejected: int
    rollbacks: int
    released: int
    retired: int
    quarantine: list[Quarantined]
    last_error: str


class Live:
    """Follows a directory or a prefix, and publishes the newest checkpoint that is whole and in memory.

        live = cairn_store.Live("saved", prepare=load_model)
        threading.Thread(target=live.run).start()
        ...
        snapshot = live.current()           # in each request: never waits for the thread that works
        answer = snapshot.model(request)
        ...
        live.stop()

    A new checkpoint is opened, compared with its checksums, and brought into memory while requests use the current one.
    What is damaged, has other names, dtypes or shapes, or makes `prepare` raise, goes into quarantine until one of its
    files changes; the current one stays.

    Args:
        path: a directory with a catalog, a prefix, or a file; it may be created later.
        prepare: called with each new Checkpoint before it is published, in the thread that runs. What it returns is
            Snapshot.model. An exception rejects the checkpoint.
        expected: as in open(); None: what the current checkpoint has.
        same_tensors: False: checkpoints may differ in names, dtypes and shapes, if `expected` is None.
        bytes_per_second: how fast bytes are read and checked; None: without a limit.
        poll: seconds between two looks.
        follow_links: as in open().

    Threads: any. `prepare` must not call run() or poll().
    """

    def __init__(self, path: Path, *, prepare: Callable[[Checkpoint], object] | None = None,
                 expected: Expected | None = None, same_tensors: bool = True, bytes_per_second: int | None = 100_000_000,
                 poll: float = 1.0, follow_links: bool = False) -> None:
        words = {"same_tensors": same_tensors, "bytes_per_second": bytes_per_second or 0, "poll": poll,
                 "follow_links": follow_links}
        call = None if prepare is None else lambda opened: prepare(Checkpoint(opened))
        self._live = _cairn.Live.open(os.fsencode(path), _specs(expected), words, call)

    def current(self) -> Snapshot | None:
        """The checkpoint that is published; None if there is none yet."""
        snapshot = self._live.current()
        return None if snapshot is None else Snapshot(snapshot)

    def run(self) -> None:
        """Works and waits until stop(). Call it in a thread of its own: Ctrl-C does not end it. Reads and checks in the
        time that others leave."""
        self._live.run()

    def stop(self) -> None:
        """Ends run(), for good."""
        self._live.stop()

    def poll(self, budget: float = 0.01) -> float:
        """Works for about `budget` seconds, and returns for how many seconds there is nothing to do. For an event loop,
        instead of run()."""
        return self._live.poll(budget)

    def rollback(self) -> None:
        """Publishes the checkpoint before the current one, and keeps the current one out. Raises NotFoundError if there is
        none, BusyError if another one was published meanwhile, IoError."""
        self._live.rollback()

    def status(self) -> LiveStatus:
        """What was done, and what is done at present."""
        values = self._live.status()
        values["quarantine"] = [Quarantined(*one) for one in values["quarantine"]]
        return LiveStatus(**values)

    def prometheus(self) -> str:
        """The numbers of the status, for /metrics."""
        return self._live.prometheus()
