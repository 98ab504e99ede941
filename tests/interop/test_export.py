"""TensorFlow reads what we import and export, and no tensor byte moves."""
import os

import numpy as np

import tensors
from command import Case, cairn, cairn_json
from test_read import partitioned

RNG = np.random.default_rng(21)


def identity(path):
    status = os.stat(path)
    return status.st_ino, status.st_mtime_ns, status.st_size


class Exports(Case):
    def assert_round_trips(self, prefix, wanted):
        """Import; lose P.index; export in place, and elsewhere: TensorFlow reads both, and the shards stay as they are."""
        dtypes = {name: tensor.dtype for name, tensor in wanted.items()}
        shards = [f"{self.folder}/{n}" for n in os.listdir(self.folder) if ".data-" in n]
        before = {shard: identity(shard) for shard in shards}

        self.assertEqual(cairn_json("import", prefix)["payload_bytes_copied"], 0)
        os.remove(prefix + ".index")
        self.assert_cairn_reads(prefix, wanted, "cairn")
        self.assertEqual(cairn_json("export", prefix, "--to", "tensorflow")["payload_bytes_copied"], 0)
        self.assertEqual(tensors.restore(prefix, dtypes), wanted)
        self.assertEqual({shard: identity(shard) for shard in shards}, before)

        output = self.path("elsewhere", "q")
        done = cairn_json("export", prefix, "--to", "tensorflow", "--output", output)
        self.assertEqual((done["link"], done["payload_bytes_copied"], done["not_nameable"]), ("hard", 0, []))
        self.assertEqual(tensors.restore(output, dtypes), wanted)
        self.assertEqual({shard: identity(shard) for shard in shards}, before)
        linked = {identity(self.path("elsewhere", n)) for n in os.listdir(self.path("elsewhere")) if ".data-" in n}
        self.assertEqual(linked, set(before.values()))

    def test_every_dtype(self):
        values = tensors.every_dtype(RNG)
        self.assert_round_trips(tensors.save(self.path("p"), values), tensors.described_all(values))

    def test_every_shape(self):
        values = tensors.every_shape(RNG)
        self.assert_round_trips(tensors.save(self.path("p"), values), tensors.described_all(values))

    def test_strings(self):
        values = tensors.every_string()
        self.assert_round_trips(tensors.save(self.path("p"), values), tensors.described_all(values))

    def test_partitioned_variables(self):
        whole = tensors.make("float32", (4, 6), RNG)
        prefix = tensors.save(*partitioned(self.path("p"), whole, 1))
        self.assert_round_trips(prefix, {"v": tensors.described(whole)})

    def test_an_exported_index_is_the_one_that_tensorflow_wrote(self):
        for name, values in (("dtypes", tensors.every_dtype(RNG)), ("strings", tensors.every_string())):
            with self.subTest(name):
                prefix = tensors.save(self.path(name, "p"), values)
                cairn("import", prefix)
                with open(prefix + ".index", "rb") as file:
                    theirs = file.read()
                os.remove(prefix + ".index")
                cairn("export", prefix, "--to", "tensorflow")
                with open(prefix + ".index", "rb") as file:
                    self.assertEqual(file.read(), theirs)
