"""We read what h5py and Keras write, where it lies, bit for bit."""
import io
import os
import random
import subprocess
import unittest
import zipfile

import h5py
import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

import command
from command import Case, Refused, cairn, cairn_json

SEED = int(os.environ.get("CAIRN_SEED", random.randrange(2**32)))
DTYPES = {"f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
          "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "c8": "complex64", "c16": "complex128",
          "b1": "bool", "S3": "S3", "V5": "V5"}
LIBVERS = ("earliest", "v108", "v110", "latest")


def expected(item):
    """A dataset's bytes as cairn gives them: row-major, in this machine's byte order. None: it has no such bytes."""
    if not isinstance(item, h5py.Dataset) or item.shape is None or item.dtype.kind == "O":
        return None
    array = np.asarray(item[()], dtype=item.dtype)
    if array.dtype.kind not in "SV":
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array).tobytes()


def datasets(file):
    found = {}
    file.visititems(lambda name, item: found.update({name: expected(item)}))
    return {name: data for name, data in found.items() if data is not None}


def read_by_library(path):
    """Name → (dtype, shape, bytes), as a program reads it; opened once more with every byte checked."""
    done = subprocess.run([command.READ_DRIVER], input=path.encode() + b"\n", capture_output=True, check=True)
    tensors, full = {}, None
    for line in done.stdout.decode().splitlines():
        fields = line.split("\t")
        if fields[0] == "open" and fields[1] != "ok":
            raise AssertionError(line)
        if fields[0] == "tensor":
            name, dtype, shape, verdict, value = fields[1:6]
            assert verdict == "ok", line
            tensors[bytes.fromhex(name).decode()] = (dtype, [int(n) for n in shape.split(",") if n], bytes.fromhex(value))
        if fields[0] == "full":
            full = fields[1]
    assert full == "ok", done.stdout[-500:]
    return tensors


class ReadsHdf5(Case):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(SEED)
        print(f"CAIRN_SEED={SEED}")

    def array(self, dtype, shape):
        kind = np.dtype(dtype)
        if kind.kind == "b":
            return self.rng.integers(0, 2, shape).astype("?")
        count = int(np.prod(shape, dtype=np.int64))
        data = self.rng.bytes(count * kind.itemsize)
        if kind.kind == "S":  # numpy cuts NUL bytes off the end
            data = bytes(byte or 1 for byte in data)
        if self.rng.integers(0, 2):  # what filters make smaller
            data = bytes(byte % 3 + 1 for byte in data)
        return np.frombuffer(data, kind).reshape(shape)

    def shape(self):
        return tuple(int(n) for n in self.rng.integers(1, 14, self.rng.integers(0, 4)))

    def storage(self, shape):
        """How to store it, at random."""
        if not shape or self.rng.integers(0, 3) == 0:
            return {}
        how = {"chunks": tuple(int(self.rng.integers(1, size + 1)) for size in shape)}
        if self.rng.integers(0, 2):
            how["maxshape"] = tuple((None, size, size + 5)[self.rng.integers(0, 3)] for size in shape)
        if self.rng.integers(0, 2):
            how["compression"] = int(self.rng.integers(0, 10))
        for key in ("shuffle", "fletcher32"):
            how[key] = bool(self.rng.integers(0, 2))
        return how

    def random_file(self, path, libver, count=60):
        with h5py.File(path, "w", libver=libver, track_order=bool(self.rng.integers(0, 2)),
                       userblock_size=int((0, 512, 1024, 4096)[self.rng.integers(0, 4)])) as file:
            for i in range(count):
                dtype = str(self.rng.choice(list(DTYPES)))
                if self.rng.integers(0, 4) == 0 and dtype not in ("b1", "S3", "V5"):
                    dtype = ">" + dtype
                shape = self.shape()
                name = "/".join(str(part) for part in self.rng.integers(0, 4, self.rng.integers(1, 4))) + f"/t{i}"
                how = self.storage(shape)
                array = self.array(dtype, shape)
                made = file.create_dataset(name, shape=shape, dtype=array.dtype, **how)
                if self.rng.integers(0, 8):
                    made[...] = array
                elif shape and array.dtype.kind not in "SVb":  # parts of it are never written
                    made[: max(1, shape[0] // 2)] = array[: max(1, shape[0] // 2)]
            for i in range(int(self.rng.integers(0, 20))):
                file.attrs[f"a{i}"] = "text %d" % i

    def assert_reads(self, path):
        with h5py.File(path) as file:
            wanted = datasets(file)
            shapes = {name: (list(file[name].shape), file[name].dtype) for name in wanted}
            attributes = {f"/@{key}": value for key, value in file.attrs.items() if isinstance(value, str)}
        read = read_by_library(path)
        self.assertEqual(sorted(read), sorted(wanted))
        for name, data in wanted.items():
            with self.subTest(tensor=name):
                dtype, shape, value = read[name]
                self.assertEqual(shape, shapes[name][0])
                self.assertEqual(dtype, DTYPES[shapes[name][1].str.lstrip("<>|=")])
                self.assertEqual(value, data)
        said = {pair["key"]: pair["value"] for pair in cairn_json("ls", path)["metadata"]}
        self.assertEqual({key: said.get(key) for key in attributes}, attributes)
        return wanted

    def test_random_files_by_every_version_of_the_format(self):
        for libver in LIBVERS:
            for round_ in range(4):
                with self.subTest(libver=libver, round=round_):
                    path = self.path(f"{libver}{round_}.h5")
                    self.random_file(path, libver)
                    self.assert_reads(path)

    def test_every_dtype_in_every_layout(self):
        ways = ({}, {"chunks": (3, 4)}, {"chunks": (7, 9)}, {"chunks": (3, 4), "compression": 6},
                {"chunks": (3, 4), "shuffle": True, "compression": 1, "fletcher32": True},
                {"chunks": (3, 4), "maxshape": (None, 9)}, {"chunks": (3, 4), "maxshape": (7, None), "compression": 1},
                {"chunks": (3, 4), "maxshape": (None, None), "shuffle": True}, {"chunks": (3, 4), "maxshape": (9, 12)})
        for libver in LIBVERS:
            path = self.path(libver + ".h5")
            with h5py.File(path, "w", libver=libver) as file:
                for dtype in DTYPES:
                    for i, how in enumerate(ways):
                        file.create_dataset(f"{dtype}/{i}", data=self.array(dtype, (7, 9)), **how)
            with self.subTest(libver):
                self.assert_reads(path)

    def test_many_chunks(self):
        for libver in ("earliest", "latest"):
            path = self.path(libver + ".h5")
            with h5py.File(path, "w", libver=libver) as file:
                for i, how in enumerate(({}, {"maxshape": (None,)}, {"compression": 1},
                                         {"maxshape": (None,), "compression": 1})):
                    file.create_dataset(f"t{i}", data=self.array("i2", (9000,)), chunks=(2,), **how)
            with self.subTest(libver):
                self.assert_reads(path)

    def test_what_was_deleted_and_written_again(self):
        path = self.path("m.h5")
        self.random_file(path, "latest", 40)
        with h5py.File(path, "a") as file:
            names = sorted(datasets(file))
            for name in names[::3]:
                del file[name]
            for i, name in enumerate(names[1::3]):
                if file[name].maxshape and file[name].maxshape[0] is None:
                    file[name].resize(max(1, file[name].shape[0] + int(self.rng.integers(-4, 4))), axis=0)
                file[f"new/{i}"] = self.array("f4", self.shape())
            for i in range(30):
                file["new"].attrs[f"n{i}"] = i
        self.assert_reads(path)

    def test_what_is_converted_is_read_by_safetensors(self):
        path, out = self.path("m.h5"), self.path("m.safetensors")
        arrays = {f"{dtype}/{i}": self.array(dtype, (3, 4)) for dtype in ("f4", "i8", "u1", "f2") for i in range(2)}
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression="gzip" if name.endswith("1") else None)
        cairn("convert", path, out, "--to", "safetensors")
        loaded = load_file(out)
        self.assertEqual({name: array.tobytes() for name, array in loaded.items()},
                         {name: array.tobytes() for name, array in arrays.items()})

    def test_slices_and_damage(self):
        path = self.path("m.h5")
        array = self.array("f4", (20, 30))
        with h5py.File(path, "w", libver="latest") as file:
            file.create_dataset("c", data=array, chunks=(8, 7), compression="gzip", fletcher32=True)
            chunk = file["c"].id.get_chunk_info(3)
        self.assertEqual(cairn("cat", path, "c", "--slice", "3:17,5:29", "--raw"), array[3:17, 5:29].tobytes())
        with open(path, "r+b") as file:
            file.seek(chunk.byte_offset + chunk.size - 3)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        with self.assertRaises(Refused):
            cairn("ls", path)

    def test_bfloat16_as_keras_stores_it(self):
        path = self.path("m.weights.h5")
        array = self.rng.standard_normal((5, 6)).astype(ml_dtypes.bfloat16)
        with h5py.File(path, "w") as file:
            file.create_dataset("vars/0", data=array).attrs["dtype"] = "bfloat16"
        self.assertEqual(read_by_library(path), {"vars/0": ("bfloat16", [5, 6], array.tobytes())})


class ReadsKeras(Case):
    @classmethod
    def setUpClass(cls):
        try:
            import keras
        except ImportError as error:
            raise unittest.SkipTest(f"keras cannot be imported: {error}") from error
        cls.keras = keras
        keras.utils.set_random_seed(SEED % 2**31)
        print(f"CAIRN_SEED={SEED}")

    def model(self, dtype="float32"):
        layers = self.keras.layers
        model = self.keras.Sequential([
            self.keras.Input((6, 6, 2)), layers.Conv2D(4, 3, name="stem", dtype=dtype), layers.BatchNormalization(dtype=dtype),
            layers.Flatten(), layers.Dense(5, dtype=dtype), layers.Dense(3, name="head", dtype=dtype)])
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        rng = np.random.default_rng(SEED)
        model.set_weights([rng.standard_normal(weight.shape).astype(weight.dtype) for weight in model.get_weights()])
        return model

    def assert_has_weights(self, path, model, hdf5):
        """All that h5py finds in the file, and among it each weight of the model."""
        with h5py.File(hdf5) as file:
            wanted = datasets(file)
        read = {name: value for name, (_, _, value) in read_by_library(path).items()}
        self.assertEqual(read, wanted)
        for weight in model.get_weights():
            self.assertIn(np.ascontiguousarray(weight).tobytes(), read.values())

    def test_weights_and_legacy_files(self):
        model = self.model()
        for name, save in (("m.weights.h5", model.save_weights), ("legacy.h5", model.save)):
            path = self.path(name)
            save(path)
            self.assert_has_weights(path, model, path)
        said = {pair["key"] for pair in cairn_json("ls", self.path("legacy.h5"))["metadata"]}
        self.assertLessEqual({"/@keras_version", "/@model_config", "/model_weights@layer_names",
                              "/model_weights/head@weight_names"}, said)

    def test_an_archive_in_place(self):
        model = self.model()
        path = self.path("m.keras")
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            self.assert_has_weights(path, model, io.BytesIO(archive.read("model.weights.h5")))
        listed = cairn_json("ls", path)
        self.assertEqual({entry["shard"] for entry in listed["tensors"]}, {"m.keras"})
        said = {pair["key"]: pair["value"] for pair in listed["metadata"]}
        self.assertIn(self.keras.__version__, said["metadata.json"])

    def test_bfloat16(self):
        model = self.model("bfloat16")
        path = self.path("m.weights.h5")
        model.save_weights(path)
        self.assert_has_weights(path, model, path)
        self.assertIn("bfloat16", {dtype for dtype, _, _ in read_by_library(path).values()})

    def test_weights_in_several_files(self):
        model = self.model()
        path = self.path("m.weights.json")
        model.save_weights(path, max_shard_size=1.5e-6)  # GB
        parts = sorted(name for name in os.listdir(self.folder) if name.endswith(".h5"))
        self.assertGreater(len(parts), 1)
        wanted = {}
        for part in parts:
            with h5py.File(self.path(part)) as file:
                wanted.update(datasets(file))
        read = {name: value for name, (_, _, value) in read_by_library(path).items()}
        self.assertEqual(read, wanted)
