"""The names of the package safetensors (0.8), over Cairn: change `safetensors` to `cairn_store.safetensors` in the import.

What differs:
- Arrays and tensors are the mapped file, copy-on-write. They may be written as safetensors' may; memory is taken for the
  pages that are written. The file may be replaced meanwhile, but must not be changed in place.
- A file with a FILE.cairn beside it is checked by its checksums.
- Files are written with temporary names, synced and renamed, so a crash leaves the old file or the new one. They have
  the permissions that the umask gives, and the header ends at a multiple of 64 bytes, so that every first tensor is
  aligned for every consumer. They are plain safetensors: keys and metadata are what was given.
- Arrays that are not contiguous are written with their values.
- Frameworks: numpy, PyTorch, TensorFlow and JAX. Others raise SafetensorError.
"""
from ._format import SafetensorError, TensorSpec, deserialize, serialize, serialize_file
from ._opened import _safe_open_handle, safe_open

__version__ = "0.8.0"  # the version of safetensors whose names and signatures these are

__all__ = ["SafetensorError", "TensorSpec", "deserialize", "safe_open", "serialize", "serialize_file"]
