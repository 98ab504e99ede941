"""PyTorch: tensors over the mapped file, and the same vectors as from tensors of its own."""
import unittest

import numpy as np

from engines import Case, mapped_file, needs

needs("torch")
import torch

import cairn_store
import minilm
import torch_tensors


class MiniLM(Case):
    def test_vectors_are_those_of_torchs_own_tensors_to_the_last_bit(self):
        from safetensors.torch import load_file
        with torch.inference_mode():
            own = minilm.embed(torch_tensors.FUNCTIONS, torch.erf, load_file(self.published), torch.from_numpy(self.ids),
                               torch.from_numpy(self.mask).float()).numpy()
        for path, access in ((self.aligned, "private"), (self.published, "shared")):
            vectors = torch_tensors.embedder(cairn_store.open(path, access=access))(self.ids, self.mask)
            self.assertSame(vectors, own)
            self.assert_close(vectors)

    def test_every_weight_of_a_private_checkpoint_is_the_mapped_file(self):
        opened = cairn_store.open(self.aligned, access="private")
        for name in minilm.shapes():
            self.assertEqual(mapped_file(opened[name].torch().data_ptr()), self.shard, name)

    def test_a_shared_checkpoint_is_copied_and_a_write_leaves_the_file_alone(self):
        opened = cairn_store.open(self.aligned)
        name = "embeddings.LayerNorm.bias"
        copied = opened[name].torch()
        self.assertNotEqual(mapped_file(copied.data_ptr()), self.shard)
        private = cairn_store.open(self.aligned, access="private")[name].torch()
        private.add_(1)
        self.assertTrue(torch.equal(private, copied + 1))
        self.assertEqual(opened[name].numpy().tobytes(), copied.numpy().tobytes())


if __name__ == "__main__":
    unittest.main()
