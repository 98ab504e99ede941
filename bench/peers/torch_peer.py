"""PyTorch, on the CPU, with torch.load's defaults (weights_only). A path is a file of torch.save's: a zip of tensors.

open          torch.load(mmap=True): all tensors are there, none is read
list          open, then names and shapes
one           open, then the tensor, one byte of each page touched
touch         open, then one byte of each page of each tensor
copy          open, then copy_ into tensors of the caller's, allocated and touched before, on torch's threads
restore       torch.load(mmap=False)
restore_mmap  as touch
save          torch.save of a dict
prepare       torch.save of what the safetensors file holds
"""
from peer import prepared, serve, touch

import torch
from safetensors.torch import load_file


def mapped(path):
    return torch.load(path, mmap=True)


def touch_one(tensor):
    return touch(tensor.reshape(-1).view(torch.uint8).numpy())


def open_(request):
    return lambda: mapped(request.path)


def list_(request):
    def ask():
        tensors = mapped(request.path)
        return tensors, {name: tensor.shape for name, tensor in tensors.items()}
    return ask


def one(request):
    def ask():
        tensors = mapped(request.path)
        touch_one(tensors[request.tensor])
        return tensors
    return ask


def touch_all(request):
    def ask():
        tensors = mapped(request.path)
        for tensor in tensors.values():
            touch_one(tensor)
        return tensors
    return ask


def copy(request):
    into = {name: torch.ones_like(tensor) for name, tensor in mapped(request.path).items()}

    def ask():
        tensors = mapped(request.path)
        for name, tensor in tensors.items():
            into[name].copy_(tensor)
        return tensors
    return ask


def restore(request):
    return lambda: torch.load(request.path)


def save(request):
    tensors = torch.load(request.path)
    return lambda directory: torch.save(tensors, f"{directory}/saved.pt")


def prepare(request):
    return prepared(request, ".pt", lambda path: torch.save(load_file(request.path), path))


serve({"torch": torch.__version__},
      {"open": open_, "list": list_, "one": one, "touch": touch_all, "copy": copy, "restore": restore,
       "restore_mmap": touch_all},
      {"save": save, "save_sync": save}, prepare)
