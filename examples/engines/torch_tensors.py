"""PyTorch, with the weights of a Cairn checkpoint.

`Tensor.torch()` makes a torch.Tensor over the mapped file, if the checkpoint was opened with access="private" (PyTorch has no
read-only tensors: a write would end the process; with copy-on-write it changes this process's copy of the page) and if the
elements are aligned to their own size. Else it copies.

`torch.from_dlpack(tensor)` shares a checkpoint that was opened without that, too; but PyTorch then does not keep in mind that
the memory is read-only, and a write ends the process.

PyTorch is large (2.3 GB): bench/requirements-torch.txt says how it is installed for the CPU.
"""
from __future__ import annotations

import types

import numpy as np
import torch

import cairn_store
import minilm


# PyTorch has these two under numpy's names with another meaning.
FUNCTIONS = types.SimpleNamespace(**{**vars(torch), "take": lambda x, ids, axis: x[ids], "transpose": torch.t})


def embedder(checkpoint: cairn_store.Checkpoint) -> minilm.Embedder:
    weights = {name: checkpoint[name].torch() for name in minilm.shapes()}

    def embed(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            made = minilm.embed(FUNCTIONS, torch.erf, weights, torch.from_numpy(ids), torch.from_numpy(mask).float())
        return made.numpy()

    return embed


if __name__ == "__main__":
    minilm.main(embedder, access="private")
