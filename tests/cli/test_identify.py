"""Whatever a user gives: the checkpoint that it belongs to, or one sentence that says what it is."""

import struct
import unittest

from bundle import crc32c, masked, write_bundle
from command import FAILED, YES, CommandTest


def zipped(name):
    return b"PK\x03\x04" + bytes(22) + struct.pack("<HH", len(name), 0) + name.encode() + b"contents"


def record(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(crc32c(length))) + data + struct.pack("<I", masked(crc32c(data)))


# Name, bytes, what the sentence says.
STRANGERS = (
    ("empty", b"", "is an empty file"),
    ("model.h5", b"\x89HDF\r\n\x1a\n and more", "byte 8: the superblock is of version 32"),
    ("model.index", b"\x89HDF\r\n\x1a\n and more", "an HDF5 file, such as Keras writes (.h5, .weights.h5)"),
    ("model.keras", zipped("metadata.json"), "no zip directory ends the file: it is truncated"),
    ("model.pt", zipped("archive/data.pkl"), "no zip directory ends the file: it is truncated"),
    ("model.2.index", zipped("archive/data.pkl"), "a Zip archive of PyTorch's torch.save (.pt)"),
    ("arrays.npz", zipped("w.npy"), "no zip directory ends the file: it is truncated"),
    ("arrays.index", zipped("w.npy"), "a Zip archive of NumPy arrays (.npz)"),
    ("other.zip", zipped("readme.txt"), "is a Zip archive"),
    ("none.zip", b"PK\x05\x06" + bytes(18), "is a Zip archive"),
    ("array.npy", b"\x93NUMPY\x01\x00v\x00{}", "byte 12: it ends in its header"),
    ("other.npy", b"GGUF\x03\x00\x00\x00", "byte 8: the file ends in its header"),
    ("model.gguf", b"GGUF\x03\x00\x00\x00", "byte 8: the file ends in its header"),
    ("model.pkl", b"\x80\x04\x95 pickled", "a Python pickle, which can run code"),
    ("plain.pt", b"\x80\x04\x95 pickled", "a Python pickle, which can run code"),
    ("pickled.npz", b"\x80\x04\x95 pickled", "a Python pickle, which can run code"),
    ("flax_model.msgpack", b"\x81\xa6params\x81\xa1w\xc7\x00\x01", "a msgpack file, such as flax writes"),
    ("program.pte", b"\x10\0\0\0ET12" + bytes(9), "an ExecuTorch program (.pte)"),
    ("model.ort", b"\x10\0\0\0ORTM" + bytes(9), "a model in ONNX Runtime's own format (.ort)"),
    ("model.tflite", b"\x10\0\0\0TFL3" + bytes(4), "an offset leads behind the end of the file"),
    ("tensors.ptd", b"\x10\0\0\0FT01", "an offset leads behind the end of the file"),
    ("model.onnx", b"\x08\x0b\x3a\x05", "field 7 has 5 bytes"),
    ("page.onnx", b"<!doctype html>", "an HTML page"),
    ("events.out.tfevents.1.host", record(b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2"), "an event file"),
    ("train.tfrecord", record(b"an example"), "a TFRecord file"),
    ("frozen.pb", b"\x0a\x10a node of a graph", "named like a graph (GraphDef)"),
    ("graph.pbtxt", b"node {}", "named like a graph (GraphDef)"),
    ("saved_model.txt", b'model_checkpoint_path: "m"', "a catalog (CheckpointState) under another name"),
    ("m.data-00000-of-00001.tempstate123", b"bytes", "a temporary file of TensorFlow"),
    ("m.index.tempstate123", b"bytes", "a temporary file of TensorFlow"),
    ("m.index.cairn-tmp-0123456789abcdef", b"bytes", "a temporary file of Cairn"),
    ("m.data-00000-of-00001", b"bytes", "is named like a shard, but its index is missing"),
    ("m.meta", b"graph", "is named like a graph, but its index is missing"),
    ("noise", b"nothing in particular", "not a checkpoint of a format that Cairn knows"),
)


class Identify(CommandTest):
    def sentence(self, given):
        ran = self.cairn("ls", given, exit=FAILED)
        self.assertEqual(len(ran.err.splitlines()), 1, ran.err)
        self.assertTrue(ran.err.startswith(f"cairn: {given}: "), ran.err)
        self.assert_terminal_safe(ran)
        return ran.err

    def assert_opens(self, given, prefix):
        listed = self.cairn("ls", given, "--json", exit=YES).json
        self.assertEqual((listed["prefix"], [t["name"] for t in listed["tensors"]]), (str(prefix), ["w"]))

    def test_strangers_are_named_in_one_sentence(self):
        for name, data, said in STRANGERS:
            with self.subTest(name):
                (self.dir / name).write_bytes(data)
                self.assertIn(said, self.sentence(name))

    def test_directories_of_other_libraries_are_named_in_one_sentence(self):
        for name, file, said in (("orbax", "_CHECKPOINT_METADATA", "a checkpoint of Orbax (JAX)"),
                                 ("orbax_item", "_METADATA", "save its arrays with safetensors.flax.save_file"),
                                 ("ocdbt", "manifest.ocdbt", "a checkpoint of Orbax (JAX)"),
                                 ("zarr3", "zarr.json", "a zarr store"), ("zarr2", ".zgroup", "a zarr store"),
                                 ("array.zarr", ".zarray", "safetensors.numpy.save_file")):
            with self.subTest(name):
                (self.dir / name).mkdir()
                (self.dir / name / file).write_bytes(b"{}")
                self.assertIn(said, self.sentence(name))

    def test_an_index_under_another_name(self):
        write_bundle(self.dir / "m", {b"w": b"1234"})
        (self.dir / "m.index").rename(self.dir / "renamed")
        said = self.sentence("renamed")
        self.assertIn("the index of a TensorFlow checkpoint (V2) under another name; to open it, rename it to PREFIX.index", said)

    def test_an_index_without_its_shards_names_the_first_that_is_missing(self):
        write_bundle(self.dir / "m", {b"w": b"1234"})
        (self.dir / "m.data-00000-of-00001").unlink()
        ran = self.cairn("ls", "m.index", exit=FAILED)
        self.assertIn("m.data-00000-of-00001", ran.err)

    def test_every_file_of_a_saved_model_opens_it(self):
        variables = self.dir / "model" / "variables"
        variables.mkdir(parents=True)
        write_bundle(variables / "variables", {b"w": b"1234"})
        for name in ("saved_model.pb", "fingerprint.pb", "keras_metadata.pb"):
            (self.dir / "model" / name).write_bytes(b"\x08\x01")
        for given in ("model", "model/", "model/saved_model.pb", "model/fingerprint.pb", "model/keras_metadata.pb",
                      "model/variables", "model/variables/", "model/variables/variables",
                      "model/variables/variables.index", "model/variables/variables.data-00000-of-00001"):
            with self.subTest(given):
                self.assert_opens(given, "model/variables/variables")

    def saved_model(self, folder, name="saved_model.pb"):
        variables = self.dir / folder / "variables"
        variables.mkdir(parents=True)
        write_bundle(variables / "variables", {b"w": b"1234"})
        (self.dir / folder / name).write_bytes(b"saved_model_schema_version: 1\n")
        return variables

    def test_a_saved_model_written_as_text_opens(self):
        self.saved_model("model", "saved_model.pbtxt")
        for given in ("model", "model/", "model/saved_model.pbtxt", "model/variables"):
            with self.subTest(given):
                self.assert_opens(given, "model/variables/variables")

    def test_a_saved_model_whose_index_is_missing_beside_its_shards(self):
        for name in ("saved_model.pb", "saved_model.pbtxt"):
            variables = self.saved_model(name[-3:], name)
            (variables / "variables.index").unlink()
            for given in (name[-3:], name[-3:] + "/" + name):
                with self.subTest(given):
                    said = self.cairn("ls", given, exit=FAILED).err
                    self.assertIn("variables/variables.index is missing", said)
                    self.assertIn("perhaps only a part was copied", said)
                    self.assertNotIn("without variables", said)

    def test_a_directory_of_versions_names_them_newest_first(self):
        for version in ("2", "10", "9", "0001"):
            self.saved_model("serving/" + version, "saved_model.pbtxt" if version == "2" else "saved_model.pb")
        (self.dir / "serving" / "11").mkdir()  # none of them
        self.assertIn(
            "serving: is a directory with several versions of a SavedModel; give one of them: "
            "serving/10, serving/9, serving/2, …",
            self.cairn("ls", "serving", exit=FAILED).err)
        self.assert_opens("serving/10", "serving/10/variables/variables")

    def test_a_saved_model_without_variables(self):
        (self.dir / "model").mkdir()
        (self.dir / "model" / "saved_model.pb").write_bytes(b"")
        self.assertIn("is a SavedModel without variables", self.cairn("ls", "model/saved_model.pb", exit=FAILED).err)

    def test_directories_without_a_checkpoint(self):
        for name, said in (("bare", "and without checkpoints"),
                           ("m-3_temp", "a TensorFlow save that still runs or has died"),
                           ("m_temp_" + 32 * "a", "its prefix is m;"),
                           ("variables", "and without checkpoints")):
            with self.subTest(name):
                (self.dir / name).mkdir()
                self.assertIn(said, self.sentence(name))

    def test_a_v1_checkpoint_is_listed_without_offsets(self):
        self.golden("tensorflow/v1")
        listed = self.cairn("ls", "v1", "--json", exit=YES).json
        self.assertEqual((listed["format"], listed["step"]), ("tensorflow-v1", 3))
        self.assertEqual({t["offset"] for t in listed["tensors"]}, {None})
        self.assertEqual({t["shard"] for t in listed["tensors"]}, {"old.ckpt-3", None})
        self.assertIn("use 'cairn convert'", self.cairn("import", "v1", exit=FAILED).err)
        self.assertIn("whole", self.cairn("verify", "v1/old.ckpt-3", exit=YES).text)


if __name__ == "__main__":
    unittest.main()
