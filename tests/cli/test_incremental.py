"""save --incremental: what is shared, and what is left when the older checkpoint goes."""

import os
import struct

from command import FAILED, YES, CommandTest


def npy(count, value):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": (count,)}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack("<f", value) * count


class Incremental(CommandTest):
    def setUp(self):
        super().setUp()
        (self.dir / "large.npy").write_bytes(npy(1 << 19, 1))
        for name in "ab":
            (self.dir / f"{name}.npy").write_bytes(npy(1000, ord(name)))
        self.save("--step", "1", "large=large.npy", "small=a.npy", "text:string=said")

    def save(self, *words):
        return self.cairn("save", "saved/m", *words, "--json", exit=YES).json

    def test_only_what_is_given_is_written(self):
        done = self.save("--step", "2", "--from", "saved", "--incremental", "small=b.npy")
        self.assertEqual((done["base"], done["shared_bytes"], done["warnings"]), ("saved/m-1", 4 << 19, []))
        self.assertLess(done["written_bytes"], 10_000)
        self.assertEqual(len([path for path in (self.dir / "saved").glob("m-2.data-*") if path.stat().st_nlink == 2]), 1)
        self.cairn("rm", "saved/m-1", exit=YES)
        self.cairn("verify", "saved/m-2", exit=YES)
        self.assertEqual(self.cairn("cat", "saved/m-2", "text", exit=YES).text, "b'said'\n")
        self.assertTrue(self.cairn("cat", "saved/m-2", "small", exit=YES).text.startswith("[98.0"))

    def test_what_is_shared_is_said(self):
        done = self.cairn("save", "saved/m", "--step", "2", "--from", "saved", "--incremental", "small=b.npy", exit=YES)
        self.assertEqual(done.text, "saved/m-2\n")
        self.assertRegex(done.err, r"wrote 8[.\d]* kB; 2.10 MB are in shards shared with saved/m-1, and 8[.\d]* kB of")

    def test_each_nth_writes_everything(self):
        bases = [self.save("--step", str(step), "--from", "saved", "--incremental", "--full-every", "2", "small=b.npy")["base"]
                 for step in range(2, 6)]
        self.assertEqual(bases, ["saved/m-1", None, "saved/m-3", None])
        self.cairn("verify", *(f"saved/m-{step}" for step in range(1, 6)), exit=YES)

    def test_what_has_no_index_of_ours_is_written(self):
        os.remove(self.dir / "saved/m-1.cairn")
        done = self.save("--step", "2", "--from", "saved", "--incremental", "small=b.npy")
        self.assertEqual((done["base"], done["shared_bytes"]), (None, 0))

    def test_without_a_source_it_is_refused(self):
        self.assertIn("--from", self.cairn("save", "saved/m", "--incremental", "v:int32=1", exit=FAILED).err)

    def test_no_stale_header_is_exported(self):
        self.save("--step", "2", "--from", "saved", "--incremental", "small=b.npy")
        self.cairn("export", "saved/m-2", "--to", "safetensors", "--allow-lossy", exit=FAILED)
        self.cairn("convert", "saved/m-2", "out", "--to", "safetensors", "--allow-lossy", exit=YES)
        self.assertTrue(self.cairn("cat", "out.safetensors", "small", exit=YES).text.startswith("[98.0"))
