"""Import reads no tensor: the shard is neither read nor mapped, and none of its pages comes into memory."""
import ctypes
import mmap
import os
import re
import shutil
import subprocess

import tensorflow as tf

import command
import tensors
from command import Case, cairn, cairn_json

SHARD_BYTES = 8 << 20
READS = "read,pread64,readv,preadv,preadv2,mmap,sendfile,copy_file_range,splice,readahead,io_uring_enter"


def resident_pages(path):
    """How many pages of the file lie in the page cache."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as view:
        pages = (ctypes.c_ubyte * (len(view) // mmap.PAGESIZE + 1))()
        start = ctypes.addressof(ctypes.c_ubyte.from_buffer(view))
        if ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(view)), pages) != 0:
            raise OSError(ctypes.get_errno(), "mincore")
        return sum(page & 1 for page in pages)


def evict(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Imports(Case):
    def setUp(self):
        super().setUp()
        self.prefix = tensors.save(self.path("p"), {"x": tf.zeros([SHARD_BYTES // 4])})
        self.shard = self.path("p.data-00000-of-00001")

    def test_no_call_reads_or_maps_the_shard(self):
        if not shutil.which("strace") or subprocess.run(["strace", "-o", os.devnull, "true"]).returncode:
            self.skipTest("strace may not trace here")
        subprocess.run(["strace", "-f", "-y", "-e", "trace=" + READS, "-o", self.path("trace"),
                        command.CAIRN, "import", self.prefix], check=True, stdout=subprocess.DEVNULL)
        with open(self.path("trace"), encoding="utf-8", errors="replace") as file:
            lines = file.readlines()
        self.assertTrue(any(re.search(r"\bp\.index>", line) for line in lines), "the trace shows how P.index is read")
        self.assertEqual([line for line in lines if self.shard in line], [])

    def test_no_page_of_the_shard_comes_into_memory(self):
        evict(self.shard)
        if resident_pages(self.shard):
            self.skipTest("this file system keeps its pages in memory")
        cairn("import", self.prefix)
        self.assertEqual(resident_pages(self.shard), 0)
        cairn("cat", self.prefix, "x", "--raw")
        self.assertGreater(resident_pages(self.shard), 0, "the measurement sees a read")


class SavedAgain(Case):
    """TensorFlow saves under a prefix that has a P.cairn, values of the same sizes: the new ones count."""

    def assert_new_values_count(self, save):
        prefix = self.path("p")
        for number in range(20):
            stored = save(prefix, number)
            self.assertEqual(int(cairn("cat", prefix, stored)), number, "before the import")
            (report,) = cairn_json("verify", prefix)["checkpoints"]
            self.assertTrue(report["whole"], report)
            cairn("import", prefix, *(["--replace"] if number else []))
            listed = cairn_json("ls", prefix)
            self.assertEqual((listed["format"], listed["warnings"]), ("cairn", []))
            self.assertEqual(int(cairn("cat", prefix, stored)), number, "after the import")

    def test_one_operation(self):
        self.assert_new_values_count(lambda prefix, number: tensors.save(prefix, {"v": tf.constant(number)}) and "v")

    def test_a_checkpoint_whose_index_is_written_in_place(self):
        variable = tf.Variable(0)
        checkpoint = tf.train.Checkpoint(v=variable)

        def save(prefix, number):
            variable.assign(number)
            checkpoint.write(prefix)
            return "v/.ATTRIBUTES/VARIABLE_VALUE"

        self.assert_new_values_count(save)

    def test_a_saver_that_shards(self):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            variable = tf.compat.v1.get_variable("v", initializer=0)
            saver = tf.compat.v1.train.Saver(sharded=True)

            def save(prefix, number):
                session.run(variable.assign(number))
                saver.save(session, prefix, write_meta_graph=False)
                return "v"

            self.assert_new_values_count(save)
