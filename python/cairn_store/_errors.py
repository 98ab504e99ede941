"""The exceptions. Each error of Cairn has a code that says what the caller can do; each code is a class here, which is
also the exception of Python's own that fits it.
"""
from __future__ import annotations

import os


class CairnError(Exception):
    """Base of every error that Cairn reports.

    Attributes:
        code: "NotFound", "Exists", "Corrupt", "Unsupported", "Unsafe", "Invalid", "Io", "NoSpace", "OutOfMemory",
            "Busy" or "Cancelled".
        os_errno: the number of the system call's error, 0 if no system call failed.

    `str(error)` is one sentence: what failed, on which file, at which byte, what can be done.
    """

    code: str
    os_errno: int
    message: str

    def __init__(self, code: str, os_errno: int, message: str) -> None:
        super().__init__(code, os_errno, message)
        self.code = code
        self.os_errno = os_errno
        self.message = message
        if isinstance(self, OSError):
            _tell_number(self, os_errno, message)

    def __str__(self) -> str:
        return self.message


def _tell_number(error: OSError, number: int, message: str) -> None:
    """So that code that knows only OSError can compare `errno`."""
    error.errno = number or None
    error.strerror = os.strerror(number) if number else message


class NotFoundError(CairnError, FileNotFoundError):
    """There is no such file or checkpoint: use another path."""


class TensorNotFoundError(CairnError, KeyError):
    """The checkpoint has no tensor of this name; the message lists similar names."""


class ExistsError(CairnError, FileExistsError):
    """The target exists: choose another name, or pass replace=True."""


class CorruptError(CairnError):
    """The bytes are not what was stored: get the file again."""


class UnsupportedError(CairnError):
    """Valid, but this version or this function cannot do it; the message names another function if there is one."""


class UnsafeError(CairnError):
    """A file leads outside its directory, or is no regular file: do not trust it."""


class InvalidError(CairnError, ValueError):
    """An argument is wrong."""


class IoError(CairnError, OSError):
    """A system call failed; `errno` says how."""


class NoSpaceError(CairnError, OSError):
    """The disk or the quota is full: free space."""


class OutOfMemoryError(CairnError, MemoryError):
    """There is not enough memory."""


class BusyError(CairnError, TimeoutError):
    """Another process holds it: try again."""


class CancelledError(CairnError):
    """The call was stopped."""


_CLASSES: dict[str, type[CairnError]] = {
    "NotFound": NotFoundError, "Exists": ExistsError, "Corrupt": CorruptError, "Unsupported": UnsupportedError,
    "Unsafe": UnsafeError, "Invalid": InvalidError, "Io": IoError, "NoSpace": NoSpaceError,
    "OutOfMemory": OutOfMemoryError, "Busy": BusyError, "Cancelled": CancelledError,
}


def make_error(code: str, os_errno: int, message: str) -> CairnError:
    """The exception of a code; the extension module raises it."""
    return _CLASSES[code](code, os_errno, message)
