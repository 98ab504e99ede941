"""What a path is, and what lies there: links, strangers under a checkpoint's name, directories that may not be listed."""

import gzip
import os
import struct
import subprocess
import unittest

from bundle import write_bundle
from command import CAIRN, FAILED, NO, YES, CommandTest

SHARD = ".data-00000-of-00001"
POINTER = b"version https:" b"//git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 4265146304\n"

def safetensors(header, payload=b"1234"):
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text)) + text + payload


ENTRY = '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'


class Places(CommandTest):
    def names(self, given, *words):
        return [t["name"] for t in self.cairn("ls", given, "--json", *words, exit=YES).json["tensors"]]

    def bundle(self, prefix, name=b"w"):
        path = self.dir / prefix
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bundle(path, {name: b"1234"})
        return path

    def link(self, name, to):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(to, path)

    # ---- Links

    def test_links_that_stay_in_the_directory_need_no_flag(self):
        self.bundle("d/model.ckpt-100")
        for suffix in (".index", SHARD):
            self.link("d/model.ckpt" + suffix, "model.ckpt-100" + suffix)
        (self.dir / "d/checkpoint").write_text('model_checkpoint_path: "model.ckpt"\n')
        self.assertEqual(self.names("d/model.ckpt"), ["w"])
        self.assertEqual(self.names("d"), ["w"])
        self.cairn("verify", "d", exit=YES)

    def test_a_directory_of_kubernetes(self):
        self.bundle("d/..2024_1/m")
        self.link("d/..data", "..2024_1")
        for suffix in (".index", SHARD):
            self.link("d/m" + suffix, "..data/m" + suffix)
        self.assertEqual(self.names("d/m"), ["w"])

    def test_a_hugging_face_cache_needs_no_flag_and_its_neighbours_do(self):
        self.bundle("hub/models--a/blobs/m")
        for folder, up in (("", ""), ("sub/", "../")):
            for suffix in (".index", SHARD):
                self.link("hub/models--a/snapshots/1/" + folder + "m" + suffix, up + "../../blobs/m" + suffix)
        self.assertEqual(self.names("hub/models--a/snapshots/1/m"), ["w"])
        self.assertEqual(self.names("hub/models--a/snapshots/1/sub/m"), ["w"])
        for place, to in (("hub/models--b/snapshots/1", "../../../models--a/blobs/m"),
                          ("hub/models--a/other/1", "../../blobs/m"),
                          ("hub/models--a/snapshots/2", "../../blobs/../blobs/m")):
            with self.subTest(place):
                for suffix in (".index", SHARD):
                    self.link(place + "/m" + suffix, to + suffix)
                self.assertIn("--follow-links", self.cairn("ls", place + "/m", exit=FAILED).err)
                self.assertEqual(self.names(place + "/m", "--follow-links"), ["w"])

    def test_links_that_lead_out_need_the_flag_and_every_verb_has_it(self):
        self.bundle("cache/x")
        for suffix in (".index", SHARD):
            self.link("model/m" + suffix, "../cache/x" + suffix)
        (self.dir / "model/checkpoint").write_text('model_checkpoint_path: "m"\n')
        verbs = (("ls", "model"), ("ls", "model/m"), ("tree", "model/m"), ("verify", "model/m"),
                 ("cat", "model/m", "w", "--raw"), ("bench", "model/m", "--repeat", "1"),
                 ("import", "model/m", "--output", "out/i"), ("convert", "model/m", "out/c", "--to", "cairn"),
                 ("export", "model/m", "--to", "tensorflow", "--output", "out/e"),
                 ("merge", "model/m", "--output", "out/g"),
                 ("rename", "model/m", "--map", "w=v", "--output", "out/r"),
                 ("salvage", "model/m", "out/s"), ("save", "out/v", "--from", "model/m"),
                 ("set-latest", "model", "m"), ("pin", "model/m"))
        (self.dir / "out").mkdir()
        for words in verbs:
            with self.subTest(words):
                ran = self.cairn(*words)
                self.assertNotEqual(ran.exit, YES, words)
                self.assertIn("--follow-links", ran.err + ran.text)
                self.cairn(*words, "--follow-links", exit=YES)
        self.assertIn("not whole", self.cairn("state", "model").text)
        self.assertNotIn("not whole", self.cairn("state", "model", "--follow-links").text)

    def test_the_verbs_of_a_directory_follow_links_out_of_it_only_with_the_flag(self):
        for step in "12":
            self.bundle("cache/x" + step)
            for suffix in (".index", SHARD):
                self.link("model/m-" + step + suffix, "../cache/x" + step + suffix)
        (self.dir / "model/checkpoint").write_text(
            'model_checkpoint_path: "m-2"\n' + "".join('all_model_checkpoint_paths: "m-%s"\n' % step for step in "12"))
        watch = ("watch", "model", "--timeout", "0")
        self.assertIn("--follow-links", self.cairn(*watch).err)
        self.assertEqual(self.cairn(*watch, "--follow-links", exit=YES).text, "model/m-1\nmodel/m-2\n")
        self.assertEqual(self.cairn("latest", "model", exit=YES).text, "model/m-2\n")  # opens nothing
        prune = ("prune", "model", "--max-to-keep", "1")
        before = sorted(os.listdir(self.dir / "model"))
        self.cairn(*prune, exit=YES)
        self.assertEqual([n for n in sorted(os.listdir(self.dir / "model")) if n != ".cairn-lock"], before)
        (self.dir / "model/checkpoint").write_text(
            'model_checkpoint_path: "m-2"\n' + "".join('all_model_checkpoint_paths: "m-%s"\n' % step for step in "12"))
        self.assertIn("went  model/m-1", self.cairn(*prune, "--follow-links", exit=YES).text)
        self.assertEqual(sorted(os.listdir(self.dir / "model")), [".cairn-lock", "checkpoint", "m-2" + SHARD, "m-2.index"])
        self.assertEqual(self.names("cache/x1"), ["w"])

    def test_an_absolute_link_that_stays_in_the_directory_needs_no_flag(self):
        self.bundle("d/model.ckpt-100")
        for suffix in (".index", SHARD):
            self.link("d/model.ckpt" + suffix, self.dir / "d" / ("model.ckpt-100" + suffix))
        self.assertEqual(self.names("d/model.ckpt"), ["w"])

    def test_a_graph_behind_a_link_that_leads_out_is_copied_only_with_the_flag(self):
        self.bundle("d/m")
        (self.dir / "secret").write_bytes(b"secret")
        self.link("d/m.meta", "../secret")
        for words in (("convert", "d/m", "out/c", "--to", "cairn"), ("salvage", "d/m", "out/s")):
            with self.subTest(words):
                self.assertIn("m.meta: is a symbolic link", self.cairn(*words, exit=FAILED).err)
                self.assertFalse((self.dir / (words[2] + ".meta")).exists())
                self.cairn(*words, "--follow-links", exit=YES)
                self.assertEqual((self.dir / (words[2] + ".meta")).read_bytes(), b"secret")

    # ---- Catalogs

    def test_a_catalog_that_was_written_on_windows(self):
        self.bundle("d/model_0")
        self.bundle("d/model_1")
        for entry in ("C:\\\\Users\\\\u\\\\m\\\\model_1", ".\\\\model_1", "D:/m/model_1"):
            with self.subTest(entry):
                (self.dir / "d/checkpoint").write_text('model_checkpoint_path: "%s"\n' % entry)
                ran = self.cairn("ls", "d", "--json", exit=YES)
                self.assertEqual(ran.json["prefix"], "d/model_1")
                self.assertIn("d/model_1, in the directory of the catalog, was opened instead", ran.err)
                self.assertEqual(self.cairn("state", "d", "--json", exit=YES).json["latest_whole"], "d/model_1")
                self.assertEqual(self.cairn("watch", "d", "--timeout", "0", exit=YES).text, "d/model_1\n")
                self.assertIn("'cairn state' shows which are whole", self.cairn("latest", "d", exit=NO).err)

    def test_an_entry_in_a_folder_below_is_inside(self):
        self.bundle("d/sub/model_1")
        (self.dir / "d/checkpoint").write_text('model_checkpoint_path: "sub/model_1"\n')
        self.assertEqual(self.names("d"), ["w"])
        self.assertEqual(self.cairn("latest", "d", exit=YES).text, "d/sub/model_1\n")
        self.assertEqual(self.cairn("state", "d", "--json", exit=YES).json["latest_whole"], "d/sub/model_1")
        self.cairn("verify", "d", exit=YES)

    # ---- Strangers under a checkpoint's name

    def test_strangers_are_named_whenever_a_header_is_refused(self):
        strangers = ((POINTER, "run 'git lfs pull'"), (b"<!DOCTYPE html><html>404</html>", "is an HTML page"),
                     (b"\n <HTML lang=en>login</HTML>", "is an HTML page"),
                     (b"<?xml version='1.0'?><Error/>", "is XML"), (b'{"weight_map": {"a": "b"}}', "is JSON text"),
                     (gzip.compress(b"model", mtime=0), "is a compressed file"),
                     (b"PK\x03\x04" + bytes(40), "is a Zip archive"))
        for data, said in strangers:
            with self.subTest(said):
                (self.dir / "x.safetensors").write_bytes(data)
                self.assertIn(said, self.cairn("ls", "x.safetensors", exit=FAILED).err)
                self.bundle("m")
                (self.dir / ("m" + SHARD)).write_bytes(data[:3] if len(data) < 4 else data)
                (self.dir / "m.index").write_bytes(data)
                self.assertIn(said, self.cairn("ls", "m", exit=FAILED).err)

    def test_salvage_names_strangers_too(self):
        for name in ("m.index", "m.cairn"):
            with self.subTest(name):
                (self.dir / name).write_bytes(POINTER)
                self.assertIn(name + ": is a Git LFS pointer", self.cairn("salvage", "m", "out/m", exit=FAILED).err)
                (self.dir / name).unlink()

    def test_a_pointer_in_a_shards_place(self):
        write_bundle(self.dir / "m", {b"w": bytes(4096)})
        (self.dir / ("m" + SHARD)).write_bytes(POINTER)
        self.assertIn("is a Git LFS pointer", self.cairn("ls", "m", exit=FAILED).err)

    def test_headers_that_careless_writers_make(self):
        for name, data, said in (
                ("twice", safetensors("{%s,%s}" % (ENTRY, ENTRY)), "tensor 'a' appears twice"),
                ("nul", safetensors(b"{%s}\0\0\0" % ENTRY.encode()), "padded with 3 NUL bytes"),
                ("bom", safetensors(b"\xef\xbb\xbf{%s}" % ENTRY.encode()), "byte order mark")):
            with self.subTest(name):
                (self.dir / "x.safetensors").write_bytes(data)
                said_there = self.cairn("ls", "x.safetensors", exit=FAILED).err.replace('"', "'")
                self.assertIn(said, said_there)
        (self.dir / "x.safetensors").write_bytes(safetensors("{%s}  " % ENTRY))
        self.assertEqual(self.names("x.safetensors"), ["a"])

    # ---- Directories

    def test_hints_list_safetensors_files_and_not_what_macos_leaves(self):
        self.bundle("d/m")
        for name in ("m.index", "m" + SHARD, "z.safetensors"):
            (self.dir / "d" / ("._" + name)).write_bytes(b"\0\5\x16\7")
        (self.dir / "d/z.safetensors").write_bytes(safetensors("{%s}" % ENTRY))
        said = self.cairn("ls", "d", exit=FAILED).err
        self.assertIn("m, z.safetensors", said)
        self.assertNotIn("._", said)

    def test_a_directory_that_may_be_entered_and_not_listed(self):
        self.bundle("d/m")
        os.chmod(self.dir / "d", 0o711)
        os.chmod(self.dir, 0o755)
        user = {"user": 65534} if os.geteuid() == 0 else {}
        if not user:
            os.chmod(self.dir / "d", 0o311)
        for name in ("m.index", "m" + SHARD):
            os.chmod(self.dir / "d" / name, 0o644)
        done = subprocess.run([CAIRN, "ls", "d/m"], cwd=self.dir, capture_output=True, **user)
        os.chmod(self.dir / "d", 0o755)
        self.assertEqual(done.returncode, YES, done.stderr)


if __name__ == "__main__":
    unittest.main()
