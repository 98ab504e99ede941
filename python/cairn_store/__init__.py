"""Checkpoints of machine-learning models, memory-mapped and without copies.

    import cairn_store

    checkpoint = cairn_store.open("model.safetensors")   # or a TensorFlow prefix, .gguf, .npz, .onnx, …
    for name, tensor in checkpoint.items():
        print(name, tensor.dtype, tensor.shape)
    weight = checkpoint["wte.weight"].numpy()            # no copy: the array is the file
    rows = checkpoint["wte.weight"][10:20]               # reads these rows only

    cairn_store.save("saved/model-1", {"weight": weight})

`cairn_store.safetensors` has the names of safetensors, `cairn_store.tensorflow` those of TensorFlow's readers.
"""
import sysconfig as _sysconfig

if _sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise ImportError("cairn_store is not built for a Python without its global lock (free-threaded); use the usual one")

from . import _cairn
from ._checkpoint import Checkpoint, Damage, Restored, Verification, open, restore
from ._directory import (PendingSave, Retention, RetentionDecision, Saved, Saver, Watcher, best_by, every_hours,
                         every_steps, latest_checkpoint, newest, tensorflow_manager, tensorflow_saver)
from ._errors import (BusyError, CairnError, CancelledError, CorruptError, ExistsError, InvalidError, IoError,
                      NoSpaceError, NotFoundError, OutOfMemoryError, TensorNotFoundError, UnsafeError,
                      UnsupportedError)
from ._live import Live, LiveStatus, Quarantined, Snapshot
from ._tensor import Tensor
from ._writing import Transfer, convert, export_index, import_index, save

__version__: str = _cairn.version

__all__ = [
    "BusyError", "CairnError", "CancelledError", "Checkpoint", "CorruptError", "Damage", "ExistsError", "InvalidError",
    "IoError", "Live", "LiveStatus", "NoSpaceError", "NotFoundError", "OutOfMemoryError", "PendingSave", "Quarantined", "Restored", "Retention",
    "RetentionDecision", "Saved", "Saver", "Snapshot", "Tensor", "TensorNotFoundError", "Transfer", "UnsafeError",
    "UnsupportedError", "Verification", "Watcher", "best_by", "convert", "every_hours", "every_steps", "export_index",
    "import_index", "latest_checkpoint", "newest", "open", "restore", "save", "tensorflow_manager", "tensorflow_saver",
]
