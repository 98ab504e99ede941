"""safetensors in Python, for numpy. A path is a file; the format has no checksums.

open     safe_open
list     open, then the names; shapes would cost a call for each tensor, and are left out
one      open, then get_tensor, into a numpy array
touch    as restore: numpy arrays are copies out of the mapping, the copying is the touching
copy     as restore: safetensors has no reading into memory of the caller's
restore  safetensors.numpy.load_file
save     safetensors.numpy.save_file
"""
from peer import serve

import numpy
import safetensors
from safetensors import safe_open
from safetensors.numpy import load_file, save_file


def open_(request):
    return lambda: safe_open(request.path, framework="np")


def list_(request):
    def ask():
        file = safe_open(request.path, framework="np")
        return file, file.keys()
    return ask


def one(request):
    def ask():
        file = safe_open(request.path, framework="np")
        return file, file.get_tensor(request.tensor)
    return ask


def restore(request):
    return lambda: load_file(request.path)


def save(request):
    arrays = load_file(request.path)
    return lambda directory: save_file(arrays, f"{directory}/saved.safetensors")


serve({"safetensors": safetensors.__version__, "numpy": numpy.__version__},
      {"open": open_, "list": list_, "one": one, "touch": restore, "copy": restore, "restore": restore},
      {"save": save, "save_sync": save})
