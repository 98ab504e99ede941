"""TensorFlow's V1 checkpoints, by its own Saver, and the index of a merge that it cannot read itself."""
import os

import numpy as np
import tensorflow as tf

import bundle
import tensors
from command import Case, Refused, cairn, cairn_json

V1_DTYPES = ("float32 float64 int32 uint8 int16 int8 complex64 int64 bool qint8 quint8 qint32 uint16 complex128 float16 "
             "string").split()
tf1 = tf.compat.v1


def save_v1(path, values):
    names = list(values)
    tf.raw_ops.Save(filename=path, tensor_names=names, data=list(values.values()))
    return path


class V1(Case):
    def assert_converts(self, source, wanted):
        for target in ("cairn", "tensorflow"):
            with self.subTest(target=target):
                output = self.path(f"to-{target}", "x")
                cairn("convert", source, output, "--to", target)
                self.assert_verifies(output)
                dtypes = {name: tensor.dtype for name, tensor in wanted.items()}
                self.assertEqual(tensors.restore(output, dtypes), wanted, "TensorFlow reads what V1 became")

    def assert_is_v1(self, path, wanted):
        self.assert_cairn_reads(path, wanted, "tensorflow-v1")
        self.assert_verifies(path)

    def test_every_dtype_that_tensorflow_writes(self):
        rng = np.random.default_rng(31)
        values = {f"v/{dtype}": tensors.make(dtype, (3, 5), rng) for dtype in V1_DTYPES}
        values |= {f"scalar/{dtype}": tensors.make(dtype, (), rng) for dtype in V1_DTYPES}
        values |= {f"none/{dtype}": tensors.make(dtype, (0, 4), rng) for dtype in V1_DTYPES}
        wanted = tensors.described_all(values)
        path = save_v1(self.path("all-7"), values)
        self.assertEqual(tensors.restore(path, {n: t.dtype for n, t in wanted.items()}), wanted, "so TensorFlow says")
        self.assert_is_v1(path, wanted)
        self.assertEqual(cairn_json("ls", path)["step"], 7)
        self.assert_converts(path, wanted)

    def test_random_tensors(self):
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"interop: v1: seed {seed}")
        rng = np.random.default_rng(seed)
        values = {}
        for i in range(40):
            shape = tuple(int(n) for n in rng.integers(0, 12, int(rng.integers(0, 5))))
            values[f"layer/{i}/{'ключ' * (i % 3)}"] = tensors.make(str(rng.choice(V1_DTYPES)), shape, rng)
        values["large"] = tensors.make("int64", (70_000,), rng)
        wanted = tensors.described_all(values)
        self.assert_is_v1(save_v1(self.path("random"), values), wanted)

    def session(self, variables, save):
        """Builds variables in a graph of two devices, and gives what they are after `save`."""
        config = tf1.ConfigProto(device_count={"CPU": 2})
        with tf.Graph().as_default(), tf1.Session(config=config) as session:
            made = variables()
            session.run(tf1.global_variables_initializer())
            saved = save(session)
            values = session.run(made)
        return saved, {name: tensors.Tensor(v.dtype.name, list(v.shape), v.tobytes()) for name, v in values.items()}

    def test_a_saver_that_shards(self):
        def variables():
            rng = np.random.default_rng(32)
            made = {}
            for device in range(2):
                with tf1.device(f"/cpu:{device}"):
                    for i in range(3):
                        name = f"w{device}{i}"
                        made[name] = tf1.Variable(rng.random((4, 3)).astype(np.float32), name=name, use_resource=False)
            return made

        saver_of = lambda: tf1.train.Saver(write_version=tf1.train.SaverDef.V1, sharded=True)
        pattern, wanted = self.session(variables, lambda s: saver_of().save(s, self.path("s", "m"), global_step=3))
        self.assertTrue(pattern.endswith("m-3-?????-of-00002"), pattern)
        for given in (pattern, self.path("s", "m-3"), self.path("s", "m-3-00001-of-00002"), self.path("s", "m-3.meta"),
                      self.path("s")):
            with self.subTest(given=given):
                self.assert_is_v1(given, wanted)
        listed = cairn_json("ls", pattern)
        self.assertEqual((listed["prefix"], listed["step"]), (self.path("s", "m-3"), 3))
        self.assertEqual([s["name"] for s in listed["shards"]], [f"m-3-0000{i}-of-00002" for i in range(2)])
        self.assertTrue(all(t["offset"] is None and t["shard"] for t in listed["tensors"]))
        state = cairn_json("state", self.path("s"))
        self.assertEqual((state["latest"], state["checkpoints"][0]["whole"]), (pattern, True))
        self.assert_converts(pattern, wanted)
        os.remove(self.path("s", "m-3-00000-of-00002"))
        with self.assertRaisesRegex(Refused, "m-3-00000-of-00002: is missing"):
            cairn("ls", pattern)

    def test_a_partitioned_variable(self):
        def variables():
            partitioner = tf1.fixed_size_partitioner(3)
            value = np.arange(35, dtype=np.float32).reshape(7, 5)
            made = tf1.get_variable("p", initializer=tf.constant(value), partitioner=partitioner, use_resource=False)
            other = tf1.Variable(5, name="v", use_resource=False)
            return {"p": made.as_tensor(), "v": other}

        saver_of = lambda: tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
        path, wanted = self.session(variables, lambda s: saver_of().save(s, self.path("part")))
        self.assert_is_v1(path, wanted)
        self.assertIsNone(next(t for t in cairn_json("ls", path)["tensors"] if t["name"] == "p")["shard"])
        self.assert_converts(path, wanted)


class EmptyMerge(Case):
    """A bundle without a tensor, merged: the header counts its shard, the names of the others do not."""

    def test_what_tensorflow_cannot_read_after_its_own_merge(self):
        values = {"a": tf.constant([1.0, 2.0]), "b": tf.constant(7)}
        parts = [self.path("parts", name) for name in ("part-0", "part-1", "part-2")]
        tensors.save(parts[0], {"a": values["a"]})
        with open(parts[1] + ".index", "wb") as file:
            file.write(bundle.table([(b"", bytes.fromhex("08011a020801"))]))
        self.write(b"", "parts", "part-1.data-00000-of-00001")
        tensors.save(parts[2], {"b": values["b"]})
        merged = self.path("merged", "m-4")
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=merged, delete_old_dirs=False)
        names = sorted(os.listdir(self.path("merged")))
        self.assertEqual(names, ["m-4.data-00000-of-00002", "m-4.data-00001-of-00002", "m-4.index"])
        wanted = tensors.described_all(values)
        dtypes = {name: tensor.dtype for name, tensor in wanted.items()}
        with self.assertRaises(tf.errors.NotFoundError):
            tensors.restore(merged, dtypes)

        self.assert_cairn_reads(merged, wanted, "tensorflow")
        self.assert_verifies(merged)
        (warning,) = cairn_json("ls", merged)["warnings"]
        self.assertIn("says that there are 3 shards, but every tensor is in the 2", warning)

        cairn("convert", merged, self.path("converted", "m"), "--to", "tensorflow")
        self.assertEqual(tensors.restore(self.path("converted", "m"), dtypes), wanted)
        cairn("import", merged, "--output", self.path("imported", "m"))
        self.assertEqual(tensors.restore(self.path("imported", "m"), dtypes), wanted)
        cairn("import", merged)
        self.assert_cairn_reads(merged, wanted, "cairn")
        cairn("export", merged, "--to", "tensorflow", "--replace")
        self.assertEqual(tensors.restore(merged, dtypes), wanted)
        self.assert_cairn_reads(merged, wanted, "cairn")
        os.remove(merged + ".cairn")
        self.assert_cairn_reads(merged, wanted, "tensorflow")
        self.assertEqual(cairn_json("ls", merged)["warnings"], [])
