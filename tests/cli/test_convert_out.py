"""`cairn convert` into the files of other tools: .npz, .npy, and safetensors in several files."""

import json
import os
import pathlib
import random
import struct
import unittest
import zipfile

from bundle import write_safetensors
from command import FAILED, NO, YES, CommandTest

FLOATS = struct.pack("<6f", *range(6))
TENSORS = {"a": ("F32", [2, 3], FLOATS), "deep/b": ("I32", [2], struct.pack("<2i", 7, -7)),
           "half": ("BF16", [3], b"\0\1\2\3\4\5"), "scalar": ("I64", [], b"12345678"), "empty": ("U8", [0, 3], b"")}


def members(path):
    """{name of the member: (where its bytes begin, the bytes)} of an archive in which all are stored."""
    data = pathlib.Path(path).read_bytes()
    found = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name, extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
            at = entry.header_offset + 30 + name + extra
            found[entry.filename] = (at, data[at:at + entry.file_size])
    return found


def elements_at(npy):
    return 10 + struct.unpack_from("<H", npy, 8)[0]


def split(sizes, limit):
    """The files of a model, as huggingface_hub's split_state_dict_into_shards_factory makes them."""
    files, current, size = [], [], 0
    for name, own in sizes.items():
        if own > limit:
            files.append([name])
            continue
        if size + own > limit:
            files.append(current)
            current, size = [], 0
        current.append(name)
        size += own
    return files + ([current] if current else [])


class Out(CommandTest):
    def setUp(self):
        super().setUp()
        write_safetensors(self.dir / "s.safetensors", TENSORS)

    def compare(self, path, tensors=None):
        """Cairn reads the same tensors from the result as from s.safetensors."""
        tensors = TENSORS if tensors is None else tensors
        listed = self.cairn("ls", path, "--json", exit=YES).json["tensors"]
        self.assertEqual([t["name"] for t in listed], sorted(tensors))
        wanted = {t["name"]: t for t in self.cairn("ls", "s.safetensors", "--json", exit=YES).json["tensors"]}
        for tensor in listed:
            name = tensor["name"]
            self.assertEqual((tensor["dtype"], tensor["shape"]), (wanted[name]["dtype"], wanted[name]["shape"]))
            self.assertEqual(self.cairn("cat", path, name, "--raw", exit=YES).out, tensors[name][2])


class NumpyFiles(Out):
    def test_the_members_of_an_archive_are_aligned_and_the_same_each_time(self):
        done = self.cairn("convert", "s.safetensors", "new/w", "--to", "npz", "--json", exit=YES)
        self.assertEqual(done.json["prefix"], "new/w.npz")
        self.assertEqual(done.json["payload_bytes_copied"], sum(len(t[2]) for t in TENSORS.values()))
        self.assertIn(".view(ml_dtypes.bfloat16)", done.err)
        with zipfile.ZipFile(self.dir / "new/w.npz") as archive:
            self.assertIsNone(archive.testzip())
            self.assertEqual({entry.date_time for entry in archive.infolist()}, {(1980, 1, 1, 0, 0, 0)})
        found = members(self.dir / "new/w.npz")
        self.assertEqual(set(found), {name + ".npy" for name in TENSORS})
        for name, (at, npy) in found.items():
            self.assertEqual((at + elements_at(npy)) % 64, 0, name)
            self.assertEqual(elements_at(npy) % 64, 0, name)
            self.assertEqual(npy[elements_at(npy):], TENSORS[name[:-4]][2])
        self.compare("new/w.npz")
        self.cairn("convert", "s.safetensors", "again.npz", "--to", "npz", exit=YES)
        self.assertEqual((self.dir / "again.npz").read_bytes(), (self.dir / "new/w.npz").read_bytes())
        # A file of ours as a source.
        self.cairn("convert", "new/w.npz", "third", "--to", "npz", exit=YES)
        self.assertEqual((self.dir / "third.npz").read_bytes(), (self.dir / "new/w.npz").read_bytes())

    def test_a_flipped_bit_in_an_archive_is_found(self):
        self.cairn("convert", "s.safetensors", "w", "--to", "npz", exit=YES)
        self.assertIn("whole", self.cairn("verify", "w.npz", exit=YES).text)
        self.cairn("import", "w.npz", exit=YES)
        self.assertIn("whole", self.cairn("verify", "w.npz", exit=YES).text)
        path = self.dir / "w.npz"
        before, times = path.read_bytes(), path.stat()
        path.chmod(0o644)
        for name, (at, npy) in members(path).items():
            for offset in range(at + elements_at(npy), at + len(npy)):
                data = bytearray(before)
                data[offset] ^= 1 << random.randrange(8)
                path.write_bytes(data)
                with zipfile.ZipFile(path) as archive:
                    self.assertEqual(archive.testzip(), name)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            if len(npy) > elements_at(npy):
                self.assertIn(name[:-4], self.cairn("verify", "w.npz", exit=NO).text)
            path.write_bytes(before)

    def test_an_archives_own_sums_are_compared_without_an_import(self):
        self.cairn("convert", "s.safetensors", "w", "--to", "npz", exit=YES)
        path = self.dir / "w.npz"
        path.chmod(0o644)
        before = path.read_bytes()
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(self.dir / "d.npz", "w", zipfile.ZIP_DEFLATED) as deflated:
            for name in archive.namelist():
                deflated.writestr(name, archive.read(name))
        self.assertIn("whole", self.cairn("verify", "d.npz", exit=YES).text)
        for name, (at, npy) in members(path).items():
            if len(npy) == elements_at(npy):
                continue
            data = bytearray(before)
            data[at + random.randrange(elements_at(npy), len(npy))] ^= 1 << random.randrange(8)
            path.write_bytes(data)
            text = self.cairn("verify", "w.npz", exit=NO).text
            self.assertRegex(text, f"tensor '{name[:-4]}' is damaged: .* of w.npz are in a member of the archive whose CRC-32")
            (report,) = self.cairn("verify", "w.npz", "--json", exit=NO).json["checkpoints"]
            self.assertEqual([d["tensor"] for d in report["damage"]], [name[:-4]])
            self.assertEqual((report["whole"], report["unchecked_bytes"], report["damage"][0]["stored"]), (False, 0, None))
            refused = self.cairn("convert", "w.npz", "x", "--to", "safetensors", exit=FAILED)
            self.assertIn(f'member "{name}": its bytes have another CRC-32', refused.err)

    def test_one_tensor_is_an_npy_file(self):
        refused = self.cairn("convert", "s.safetensors", "x", "--to", "npy", exit=FAILED)
        self.assertIn("holds one tensor, and there are 5; choose one of them (--only TENSOR)", refused.err)
        for words in (("--only", "none"), ("--only", "a", "--only", "half")):
            self.cairn("convert", "s.safetensors", "x", "--to", "npy", *words, exit=FAILED)
        self.assertFalse((self.dir / "x.npy").exists())
        done = self.cairn("convert", "s.safetensors", "x", "--to", "npy", "--only", "a", "--json", exit=YES)
        self.assertEqual((done.json["prefix"], done.err), ("x.npy", ""))
        npy = (self.dir / "x.npy").read_bytes()
        self.assertEqual(npy[:8], b"\x93NUMPY\x01\x00")
        self.assertEqual(eval(npy[10:elements_at(npy)]), {"descr": "<f4", "fortran_order": False, "shape": (2, 3)})
        self.assertEqual((elements_at(npy) % 64, npy[elements_at(npy):]), (0, FLOATS))
        self.cairn("convert", "x.npy", "y.npy", "--to", "npy", exit=YES)
        self.assertEqual((self.dir / "y.npy").read_bytes(), npy)

    def test_what_numpy_cannot_hold_is_refused_and_left_out_only_on_request(self):
        self.golden("tensorflow/strings")
        refused = self.cairn("convert", "strings/all", "w", "--to", "npz", exit=FAILED)
        self.assertIn("an .npz archive cannot hold", refused.err)
        self.assertEqual(list(self.dir.glob("w*")), [])
        done = self.cairn("convert", "strings/all", "w", "--to", "npz", "--allow-lossy", "--json", exit=YES)
        listed = {t["name"] for t in self.cairn("ls", "w.npz", "--json", exit=YES).json["tensors"]}
        every = {t["name"] for t in self.cairn("ls", "strings/all", "--json", exit=YES).json["tensors"]}
        self.assertEqual(listed, every - set(done.json["not_nameable"]))
        self.assertTrue(done.json["not_nameable"])
        # Metadata.
        write_safetensors(self.dir / "m.safetensors", {"a": TENSORS["a"]}, {"format": "pt", "licence": "none"})
        self.assertIn('"licence"', self.cairn("convert", "m.safetensors", "m", "--to", "npz", exit=FAILED).err)
        done = self.cairn("convert", "m.safetensors", "m", "--to", "npz", "--allow-lossy", "--json", exit=YES)
        self.assertEqual(done.json["safetensors_metadata_left_out"], ["licence"])

    def test_a_name_that_cannot_be_a_members_is_refused_by_name(self):
        for name in ("../a", "/a", "a/../b", "a//b", "a.npy"):
            write_safetensors(self.dir / "n.safetensors", {name: TENSORS["a"], "a" if name != "a" else "c": TENSORS["a"]})
            refused = self.cairn("convert", "n.safetensors", "n", "--to", "npz", "--replace", exit=FAILED)
            self.assertIn('tensor "%s"' % name, refused.err)
            done = self.cairn("convert", "n.safetensors", "n", "--to", "npz", "--allow-lossy", "--replace", "--json",
                              exit=YES)
            self.assertEqual(done.json["not_nameable"], [name])
        # Alone, it is a name as any other; as a file of its own, any name will do.
        write_safetensors(self.dir / "n.safetensors", {"a.npy": TENSORS["a"]})
        self.cairn("convert", "n.safetensors", "n", "--to", "npz", "--replace", exit=YES)
        self.assertEqual(set(members(self.dir / "n.npz")), {"a.npy.npy"})
        write_safetensors(self.dir / "n.safetensors", {"../a": TENSORS["a"]})
        self.cairn("convert", "n.safetensors", "n", "--to", "npy", exit=YES)

    def test_dtypes_that_numpy_does_not_know_keep_their_bytes(self):
        narrow = {"e5": ("F8_E5M2", [4], b"abcd"), "e4": ("F8_E4M3", [2, 2], b"efgh")}
        write_safetensors(self.dir / "f.safetensors", {**narrow, "plain": TENSORS["a"]})
        done = self.cairn("convert", "f.safetensors", "f", "--to", "npz", exit=YES)
        self.assertIn("numpy does not know the dtype of 2 tensors (float8_e4m3fn, float8_e5m2)", done.err)
        found = members(self.dir / "f.npz")
        for name, (_, shape, data) in narrow.items():
            npy = found[name + ".npy"][1]
            header = eval(npy[10:elements_at(npy)])
            self.assertEqual((header["descr"], header["shape"]), ("|V1", tuple(shape)))
            self.assertEqual(npy[elements_at(npy):], data)
        self.assertIn("give the dtype: --void-dtype", done.err)
        one = self.cairn("ls", "f.npz", "e4", "--void-dtype", "float8_e4m3fn", "--json", exit=YES).json["tensors"]
        self.assertEqual([tensor["dtype"] for tensor in one], ["float8_e4m3fn"])

    def test_an_archive_that_is_there_is_replaced_only_on_request(self):
        for format in ("npz", "npy"):
            (self.dir / ("w." + format)).write_text("mine")
            words = ("convert", "s.safetensors", "w", "--to", format, "--only", "a")
            self.assertIn("w.%s is there" % format, self.cairn(*words, exit=FAILED).err)
            self.assertEqual((self.dir / ("w." + format)).read_text(), "mine")
            self.cairn(*words, "--replace", exit=YES)
            (tensor,) = self.cairn("ls", "w." + format, "--json", exit=YES).json["tensors"]
            self.assertEqual((tensor["dtype"], tensor["shape"]), ("float32", [2, 3]))
        self.assertEqual([path.name for path in self.dir.iterdir() if "tmp" in path.name], [])

    def test_a_damaged_source_leaves_no_file(self):
        self.cairn("convert", "s.safetensors", "c", "--to", "cairn", exit=YES)
        shard = self.dir / "c.data-00000-of-00001"
        shard.chmod(0o644)
        self.flip_bit(shard, shard.stat().st_size - 1)
        for words in (("w.npz", "--to", "npz"), ("hub", "--to", "safetensors", "--max-shard-size", "1kB")):
            self.assertIn("damaged", self.cairn("convert", "c", *words, exit=FAILED).err)
        self.assertEqual({path.name for path in self.dir.iterdir()} & {"w.npz", "hub"}, set())
        self.assertEqual([path.name for path in self.dir.iterdir() if "tmp" in path.name], [])


class SeveralFiles(Out):
    def convert(self, directory, size, *words, exit=YES):
        return self.cairn("convert", "s.safetensors", directory, "--to", "safetensors", "--max-shard-size", size, *words,
                          exit=exit)

    def names(self, directory):
        return sorted(path.name for path in (self.dir / directory).iterdir())

    def assert_nothing_left(self):
        self.assertEqual([str(path) for path in self.dir.rglob("*cairn-tmp*")], [])

    def test_files_and_index_are_those_of_the_hugging_face_libraries(self):
        sizes = {name: len(TENSORS[name][2]) for name in sorted(TENSORS)}
        for limit in (1, 6, 8, 14, 23, 24, 30, 32, 45):
            wanted = split(sizes, limit)
            done = self.cairn("convert", "s.safetensors", "m%d" % limit, "--to", "safetensors", "--max-shard-size",
                              str(limit), "--json", exit=YES)
            self.assertEqual(done.json["prefix"], "m%d" % limit)
            files = ["model-%05d-of-%05d.safetensors" % (i + 1, len(wanted)) for i in range(len(wanted))]
            self.assertEqual(self.names("m%d" % limit), sorted(files + ["model.safetensors.index.json"]))
            index = (self.dir / ("m%d" % limit) / "model.safetensors.index.json").read_text()
            weight_map = {name: file for file, names in zip(files, wanted) for name in names}
            self.assertEqual(index, json.dumps({"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map},
                                               indent=2, sort_keys=True) + "\n")
            for file, names in zip(files, wanted):
                listed = self.cairn("ls", "m%d/%s" % (limit, file), "--json", exit=YES).json
                self.assertEqual([tensor["name"] for tensor in listed["tensors"]], names)
                self.assertIn({"key": "format", "value": "pt"}, listed["safetensors_metadata"])
            self.compare("m%d" % limit)

    def test_what_fits_into_one_file_has_no_index(self):
        self.convert("m", "46")
        self.convert("n/", "5GB")
        for directory in "mn":
            self.assertEqual(self.names(directory), ["model.safetensors"])
            self.compare(directory)
        self.cairn("convert", "m", "back", "--to", "safetensors", exit=YES)
        self.compare("back.safetensors")

    def test_metadata_and_step_come_back_from_several_files(self):
        self.golden("tensorflow/saver_walk/saved")
        self.cairn("convert", "saved/train2-9", "c", "--to", "cairn", exit=YES)
        self.cairn("convert", "c", "m", "--to", "safetensors", "--max-shard-size", "4", exit=YES)
        self.assertEqual(len(self.names("m")), 3)
        self.assertEqual(self.cairn("ls", "m", "--json", exit=YES).json["step"], 9)

    def test_sizes_are_given_as_people_write_them(self):
        for size in ("46", "46B", "0.046kB", "0.05 KB", "0.045KiB", "1MB", "1MiB", "1GB", "5GiB", "1.5TB", "1TiB"):
            self.convert("m", size, "--replace")
            self.assertEqual(self.names("m"), ["model.safetensors"], size)
        for size in ("0", "-1", "", "GB", "5XB", "5gigabytes", "1e3", "0x10", "inf", "nan", "9999999999TB", "5GB "):
            self.assertIn("is no size", self.convert("n", size, exit=FAILED).err, size)
        refused = self.cairn("convert", "s.safetensors", "n", "--to", "npz", "--max-shard-size", "1GB", exit=FAILED)
        self.assertIn("only a safetensors model", refused.err)

    def test_more_files_than_a_model_may_have_are_refused_before_one_is_written(self):
        write_safetensors(self.dir / "s.safetensors", {"t%d" % i: ("U8", [1], b"x") for i in range(65_537)})
        self.assertIn("the model would have 65537 files, more than the limit of 65536; choose a larger size",
                      self.convert("m", "1", exit=FAILED).err)
        self.assertFalse((self.dir / "m").exists())
        self.assert_nothing_left()

    def test_an_empty_directory_is_filled(self):
        (self.dir / "m").mkdir()
        self.convert("m", "24")
        self.compare("m")
        self.assert_nothing_left()

    def test_a_directory_that_is_there_is_replaced_only_on_request(self):
        self.convert("m", "24")
        before = {name: (self.dir / "m" / name).read_bytes() for name in self.names("m")}
        for size in ("8", "1GB"):
            self.assertIn("m: is there and is not empty (model-00001-of-00002.safetensors,",
                          self.convert("m", size, exit=FAILED).err)
        self.assertEqual({name: (self.dir / "m" / name).read_bytes() for name in self.names("m")}, before)
        # The model goes, with the records of its files; whatever else is there stays.
        self.cairn("import", "m", exit=YES)
        (self.dir / "m/config.json").write_text("{}")
        (self.dir / "m/README.md").symlink_to("../elsewhere")
        (self.dir / "m/model-card.safetensors").write_text("mine")
        (self.dir / "m/.cache/deep").mkdir(parents=True)
        (self.dir / "m/.cache/deep/model.safetensors").write_text("mine")
        (self.dir / "m/nothing").mkdir()
        inode = (self.dir / "m/config.json").stat().st_ino
        self.convert("m", "1GB", "--replace")
        self.assertEqual(self.names("m"), [".cache", "README.md", "config.json", "model-card.safetensors", "model.safetensors",
                                           "nothing"])
        self.assertEqual((self.dir / "m/.cache/deep/model.safetensors").read_text(), "mine")
        self.assertEqual(list((self.dir / "m/nothing").iterdir()), [])
        status = (self.dir / "m/config.json").stat()
        self.assertEqual((status.st_ino, status.st_nlink), (inode, 1))
        self.assertEqual(os.readlink(self.dir / "m/README.md"), "../elsewhere")
        self.compare("m")
        self.convert("m", "24", "--replace")
        self.assertEqual(len(self.names("m")), 8)
        self.compare("m")
        self.assert_nothing_left()

    def test_a_model_is_converted_onto_itself(self):
        self.convert("m", "24")
        self.cairn("convert", "m", "m", "--to", "safetensors", "--max-shard-size", "8", "--replace", exit=YES)
        self.compare("m")
        self.assertEqual(len(self.names("m")), len(split({n: len(TENSORS[n][2]) for n in sorted(TENSORS)}, 8)) + 1)

    def test_what_cannot_be_kept_is_not_replaced(self):
        self.convert("m", "24")
        deep = self.dir / "m" / os.path.join(*["d"] * 17)
        deep.mkdir(parents=True)
        (deep / "file").write_text("mine")
        self.assertIn("lies too deep; it would be lost", self.convert("m", "8", "--replace", exit=FAILED).err)
        self.assertEqual((deep / "file").read_text(), "mine")
        (self.dir / "file").write_text("mine")
        (self.dir / "link").symlink_to("m")
        for name in ("file", "link"):
            self.assertIn("is not a directory", self.convert(name, "8", "--replace", exit=FAILED).err)
        self.assertEqual((self.dir / "file").read_text(), "mine")
        self.compare("m")
        for name in (".", "..", "m/..", "/"):
            self.assertIn("is no name of a directory", self.convert(name, "8", "--replace", exit=FAILED).err)
        self.assert_nothing_left()

    def test_a_directory_that_a_dead_process_left_goes_and_nothing_of_others_with_it(self):
        self.convert("m", "24")
        left = self.dir / "m.cairn-tmp-0123456789abcdef"
        left.mkdir()
        (left / "model.safetensors").write_text("half")
        (left / "model-00001-of-00002.safetensors.cairn-tmp-0123456789abcdef").write_text("half")
        (self.dir / "m/config.json").write_text("{}")
        os.link(self.dir / "m/config.json", left / "config.json")
        for directory in (self.dir / "m/onnx", left / "onnx"):
            directory.mkdir()
        (self.dir / "m/onnx/a").write_text("a")
        os.link(self.dir / "m/onnx/a", left / "onnx/a")
        other = self.dir / "n.cairn-tmp-0123456789abcdef"
        other.mkdir()
        (other / "config.json").write_text("the only one")
        same_name = self.dir / "m.cairn-tmp-fedcba9876543210"
        (same_name / "onnx").mkdir(parents=True)
        (same_name / "onnx/a").write_text("another")
        self.cairn("convert", "s.safetensors", "new", "--to", "npz", exit=YES)
        self.assertFalse(left.exists())
        self.assertEqual((self.dir / "m/config.json").read_text(), "{}")
        self.assertEqual((other / "config.json").read_text(), "the only one")
        self.assertEqual((same_name / "onnx/a").read_text(), "another")
        self.assertEqual((self.dir / "m/onnx/a").read_text(), "a")


class BesideOtherModels(Out):
    def test_one_file_beside_an_index_of_its_name_is_refused(self):
        index = self.dir / "hub/model.safetensors.index.json"
        index.parent.mkdir()
        index.write_text("{}")
        words = ("convert", "s.safetensors", "hub/model", "--to", "safetensors")
        self.assertIn("model.safetensors.index.json is there, and loaders may read", self.cairn(*words, exit=FAILED).err)
        self.assertEqual([path.name for path in index.parent.iterdir()], [index.name])
        done = self.cairn(*words, "--replace", exit=YES)
        self.assertIn("warning: hub/model: model.safetensors.index.json is in the same directory", done.err)
        self.assertEqual(index.read_text(), "{}")

    def test_one_file_of_another_name_beside_a_model_is_written_with_a_warning(self):
        (self.dir / "model.safetensors").write_bytes((self.dir / "s.safetensors").read_bytes())
        done = self.cairn("convert", "s.safetensors", "other", "--to", "safetensors", exit=YES)
        self.assertIn("model.safetensors is in the same directory", done.err)
        self.compare("other.safetensors")


if __name__ == "__main__":
    unittest.main()
