"""Open checkpoints."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union

from . import _cairn
from ._tensor import Tensor

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Progress = Callable[[int, int], object]
Access = Literal["shared", "private", "copy"]
Verify = Literal["lazy", "full", "none"]
# Name, to dtype's name and shape.
Expected = Mapping[str, "tuple[str, tuple[int, ...]]"]


@dataclass(frozen=True)
class Damage:
    """A range of bytes whose checksum is not the stored one.

    Attributes:
        tensor: the tensor's name; "" for a header and for padding.
        shard: the file.
        offset: where in the file the range begins.
        size: how many bytes.
        stored_crc32c: the stored checksum.
        computed_crc32c: that of the bytes as they are.
    """

    tensor: str
    shard: str
    offset: int
    size: int
    stored_crc32c: int
    computed_crc32c: int


@dataclass(frozen=True)
class Verification:
    """What verify() found. False in a condition if there is damage.

    Attributes:
        bytes_checked: bytes that were compared with a checksum.
        unchecked_bytes: bytes of tensors without a stored checksum: damage in them cannot be found.
        damage: each range that differs.
    """

    bytes_checked: int
    unchecked_bytes: int
    damage: list[Damage] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.damage


class Checkpoint(Mapping[str, Tensor]):
    """An open checkpoint: a mapping of names to tensors, in the bytewise order of names. It never changes.

    The files stay mapped as long as the checkpoint, one of its tensors or one of their arrays lives, in any order of
    deletion; there is no close(). It is a context manager for the sake of habit, which closes nothing.

    Threads: any number may use it. A forked child may go on to read.
    """

    __slots__ = ("_opened", "__weakref__")

    def __init__(self, opened: _cairn.Opened) -> None:
        self._opened = opened

    def __getitem__(self, name: str | bytes) -> Tensor:
        """The tensor of this name. Raises TensorNotFoundError, a KeyError that lists similar names."""
        return Tensor(self._opened.find(name))

    def __len__(self) -> int:
        return len(self._opened)

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, (str, bytes)) and self._opened.contains(name)

    def names(self) -> list[str]:
        """All names, as a list: the fastest way to get them."""
        return self._opened.names()

    def tensors(self) -> Iterator[Tensor]:
        """Each tensor, in the order of names; faster than values()."""
        at = self._opened.at
        return (Tensor(at(position)) for position in range(len(self._opened)))

    def numpy(self) -> dict[str, Any]:
        """Every tensor's numpy(), by its name."""
        return {tensor.name: tensor.numpy() for tensor in self.tensors()}

    @property
    def format(self) -> str:
        """The format of the index: "cairn", "tensorflow", "safetensors", "gguf", "npz", …"""
        return self._opened.format

    @property
    def path(self) -> str:
        """The path that was given, without the suffix of a member file."""
        return self._opened.path

    @property
    def step(self) -> int | None:
        """The step of training, if it is stored or the name ends with it."""
        return self._opened.step

    @property
    def metadata(self) -> dict[str, str]:
        """What the writer stored beside the tensors."""
        return self._opened.metadata

    @property
    def safetensors_metadata(self) -> dict[str, str]:
        """The `__metadata__` of safetensors, in the order of the file."""
        return self._opened.safetensors_metadata

    @property
    def warnings(self) -> list[str]:
        """Sentences about what the user should know and what is no error."""
        return self._opened.warnings

    @property
    def shards(self) -> list[tuple[str, int]]:
        """The files with the tensors' bytes: name and size."""
        return self._opened.shards

    @property
    def faulted(self) -> bool:
        """Whether a page could not be read and a SigbusGuard of the program put zeros in its place."""
        return self._opened.faulted

    def resident_bytes(self) -> int:
        """How many bytes of the shards are in the page cache. Raises UnsupportedError if the system does not tell."""
        return self._opened.resident_bytes()

    def verify(self, *, threads: int = 0, progress: Progress | None = None) -> Verification:
        """Compares every byte with its checksum, on all cores (or `threads`). Damage is in the result; it is no
        exception. `progress(done_bytes, total_bytes)` is called at most ten times a second; what it raises ends the
        call. Raises IoError, CorruptError (spans that overlap, a damaged index)."""
        checked, unchecked, damage = self._opened.verify(threads, progress)
        return Verification(checked, unchecked, [Damage(*one) for one in damage])

    def prefetch(self, names: list[str] | None = None, *, threads: int = 0, progress: Progress | None = None) -> None:
        """Reads the pages of these tensors into memory, or of all."""
        self._opened.prefetch(names or [], threads, progress)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __reduce__(self) -> Any:
        raise TypeError("an open checkpoint cannot be pickled; pass its path, and open it there")

    def __repr__(self) -> str:
        return f"<cairn_store.Checkpoint {self.path!r} {self.format} of {len(self)} tensors>"


def _specs(expected: Expected | None) -> list[tuple[Any, ...]]:
    return [(name, dtype, tuple(shape), None) for name, (dtype, shape) in (expected or {}).items()]


def open(path: Path, *, access: Access = "shared", verify: Verify = "lazy", follow_links: bool = False,
         expected: Expected | None = None, threads: int = 0, progress: Progress | None = None) -> Checkpoint:
    """Opens a checkpoint of any format, and maps its files. Reads the index, and no tensor.

    Args:
        path: a prefix ("saved/train2-9") or any file of the checkpoint; a .safetensors, .npy, .npz, .gguf, .h5, .keras,
            .onnx, .pt, .ptd or .tflite file; a directory with a catalog (its latest checkpoint), a SavedModel, a
            distributed checkpoint of PyTorch, a directory of the Hugging Face libraries.
        access: "shared": mapped read-only; all processes share one copy. "private": mapped copy-on-write, so that
            arrays may be written; a page takes memory when it is written. "copy": read into memory before open returns.
        verify: when bytes are compared with their checksums, if they have some. "lazy": each tensor on its first use.
            "full": all, on all cores, before open returns. "none": never.
        follow_links: whether files may be symbolic links to any place.
        expected: the checkpoint must have exactly these tensors: {"v1": ("float32", (3, 4))}, else InvalidError, whose
            message says what differs.
        threads: for "full" and "copy"; 0: as many as the process may use.
        progress: called with the done and the total bytes, at most ten times a second. With tqdm:
            `lambda done, total: (setattr(bar, "total", total), bar.update(done - bar.n))`.

    Raises NotFoundError, CorruptError, UnsupportedError (no checkpoint, or a newer format), UnsafeError, InvalidError,
    BusyError, IoError, OutOfMemoryError. Cost: that of reading the index; no tensor is read.
    """
    how = (access, verify, follow_links, threads)
    return Checkpoint(_cairn.open(os.fsencode(path), how, _specs(expected), progress))


@dataclass(frozen=True)
class Restored:
    """What restore() did.

    Attributes:
        checkpoint: the open checkpoint.
        method: "map", "populate", "read" or "direct".
        reason: why this method, in one sentence.
        payload_bytes: the bytes of all tensors.
        file_system: the name of the file system, such as "ext4".
    """

    checkpoint: Checkpoint
    method: str
    reason: str
    payload_bytes: int
    file_system: str


def restore(path: Path, *, method: Literal["map", "populate", "read", "direct"] | None = None, verify: Verify = "full",
            follow_links: bool = False, expected: Expected | None = None, threads: int = 0,
            progress: Progress | None = None) -> Restored:
    """Opens a checkpoint and reads all its bytes, by the method that suits the disk and the memory.

    `method`: None decides by what is cached, how much memory is available, and the file system. The other arguments and
    the exceptions are those of open(); CorruptError also if a checksum differs.
    """
    how = (method or "", verify, follow_links, threads)
    opened, used, reason, payload, system = _cairn.restore(os.fsencode(path), how, _specs(expected), progress)
    return Restored(Checkpoint(opened), used, reason, payload, system)
