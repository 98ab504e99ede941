"""Other users, and systems without cachestat, locks or mmap: what works there, and what is said of the rest.

One table of verbs, run in each environment. All reading, and making something in another place, gives what it gives
anywhere; a change in place is made, or refused in a sentence, and then nothing has changed.
"""

import errno
import os
import re
import resource
import shutil
import subprocess
import unittest

from command import CAIRN, FAILED, YES, CommandTest, without

OTHER = 65534
NO_MMAP = "cannot be mapped"
NO_LOCKS = r"\.cairn-lock: cannot be locked \(.*\): .*-o flock.* or use another directory"
NOT_ALLOWED = (r"\.cairn-lock: cannot open or create: Permission denied; to change checkpoints here, you need write permission "
               r"for this file and its directory|\.cairn-tmp-[0-9a-f]*: cannot create: Permission denied")

READING = (("ls", "theirs/c"), ("ls", "theirs/saved"), ("tree", "theirs/c"), ("cat", "theirs/c", "v1"),
           ("cat", "theirs/saved/train2-9", "v2", "--raw"), ("verify", "theirs/c"), ("verify", "theirs/s.safetensors"),
           ("latest", "theirs/saved"), ("state", "theirs/saved"), ("watch", "theirs/saved", "--timeout", "0"),
           ("prune", "theirs/saved", "--max-to-keep", "1", "--dry-run"), ("state", "theirs/saved", "--repair", "--dry-run"),
           ("salvage", "theirs/c", "theirs/n", "--dry-run"), ("rename", "theirs/c", "--map", "v1=x", "--dry-run"))

ELSEWHERE = (("convert", "theirs/c", "ours/n", "--to", "cairn"), ("convert", "theirs/c", "ours/n", "--to", "safetensors"),
             ("import", "theirs/saved/train2-9", "--output", "ours/n"),
             ("export", "theirs/c", "--to", "safetensors", "--output", "ours/n"),
             ("merge", "theirs/c", "--output", "ours/n"), ("rename", "theirs/c", "--map", "v1=x", "--output", "ours/n"),
             ("salvage", "theirs/c", "ours/n"), ("save", "ours/n", "--from", "theirs/c", "v1:int32=3"))

IN_PLACE = (("import", "theirs/saved/train2-8"), ("export", "theirs/c", "--to", "safetensors"),
            ("convert", "theirs/c", "theirs/n", "--to", "cairn"), ("rename", "theirs/c", "--map", "v1=x", "--replace"),
            ("merge", "theirs/c", "--output", "theirs/n"), ("salvage", "theirs/c", "theirs/n"),
            ("save", "theirs/saved/train2", "--step", "10", "--from", "theirs/saved/train2-9"),
            ("prune", "theirs/saved", "--max-to-keep", "1"), ("pin", "theirs/saved/train2-9"),
            ("set-latest", "theirs/saved", "train2-7"), ("state", "theirs/saved", "--repair", "--all"))


class Environments(CommandTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.dir, 0o755)
        for name in ("theirs", "ours"):
            (self.dir / name).mkdir()
        saved = self.golden("tensorflow/saver_walk/saved")
        shutil.move(saved, self.dir / "theirs/saved")
        self.cairn("convert", "theirs/saved/train2-9", "theirs/c", "--to", "cairn", exit=YES)
        self.cairn("convert", "theirs/c", "theirs/s", "--to", "safetensors", exit=YES)
        self.below = os.path.realpath(self.dir / "theirs")

    def as_other(self):
        if os.geteuid() != 0:
            self.skipTest("skipped: only root can become another user")
        how = {"user": OTHER, "group": OTHER, "extra_groups": []}
        try:
            subprocess.run([CAIRN, "--version"], check=True, capture_output=True, **how)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("skipped: another user cannot run " + CAIRN)
        os.chown(self.dir / "ours", OTHER, OTHER)
        return how

    def files(self):
        """Names with bytes; but of the locks' file nobody asks whether it is there."""
        return {path: path.read_bytes() for path in (self.dir / "theirs").rglob("*")
                if path.is_file() and path.name != ".cairn-lock"}

    def anew(self, words):
        """The same words over copies, so that no verb meets what another one made."""
        shutil.copytree(self.dir / "theirs", self.dir / "kept")
        ran = self.cairn(*words)
        shutil.rmtree(self.dir / "theirs")
        shutil.move(self.dir / "kept", self.dir / "theirs")
        return ran

    def run_table(self, how, said="", refused=None):
        """`said` stands in the warnings of reading; a change in place is refused in a sentence, or, without one, made."""
        for words in READING:
            with self.subTest(words):
                self.how = {}
                there = self.cairn(*words)
                self.how = how
                here = self.cairn(*words, exit=there.exit)
                self.assertEqual(here.out, there.out)
                self.assertIn(said if words[0] in ("cat", "verify") else "", here.err)
        for words in ELSEWHERE:
            with self.subTest(words):
                self.how = how
                made = self.cairn(*words, exit=YES).text
                self.how = {}
                self.cairn("verify", re.match(r"ours/[a-z.]*", made)[0], exit=YES)
                for name in os.listdir(self.dir / "ours"):
                    os.remove(self.dir / "ours" / name)
        before = self.files()
        for words in IN_PLACE:
            with self.subTest(words):
                self.how = how
                if refused is None:
                    self.assertEqual(self.anew(words).exit, YES)
                else:
                    self.assertRegex(self.cairn(*words, exit=FAILED).err, refused)
                    self.assertEqual(self.files(), before)
        self.how = how
        ran = self.cairn("bench", "theirs/c", "--repeat", "1", "--json", exit=YES)
        self.how = {}
        return ran

    def without(self, *what, number=errno.ENOLCK):
        return {"env": without(*what, NO_MMAP_BELOW=self.below, NO_LOCKS_BELOW=self.below, NO_LOCKS_ERRNO=str(number))}

    def assert_unknown_residency(self, ran):
        self.assertIsNone(ran.json["stayed_resident"])
        self.assertIn("does not say how much of the shards stayed", ran.err)

    def assert_read(self, ran):
        self.assertEqual([ran.json["method"][cache]["name"] for cache in ("warm", "cold")], ["read", "read"])

    def test_all_of_it_where_nothing_lacks(self):
        self.assertIsNotNone(self.run_table({}).json["stayed_resident"])

    def test_another_user(self):
        # Linux has cachestat since 6.5, and tells this user since 6.14 that it is none of his business.
        self.run_table(self.as_other(), refused=NOT_ALLOWED)

    def test_without_cachestat(self):
        self.assertIsNotNone(self.run_table(self.without("cachestat")).json["stayed_resident"])

    def test_another_user_without_cachestat(self):
        ran = self.run_table({**self.as_other(), **self.without("cachestat")}, refused=NOT_ALLOWED)
        self.assert_unknown_residency(ran)
        self.assertIn("not known how many", ran.json["method"]["cold"]["reason"])

    def test_without_locks(self):
        for number in (errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
            with self.subTest(errno.errorcode[number]):
                self.run_table(self.without("locks", number=number), refused=NO_LOCKS)

    def test_without_locks_no_byte_is_written(self):
        # A file may hold one byte: whoever writes before it looks for locks says that instead.
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        self.how = {**self.without("locks"), "preexec_fn": limit}
        before = self.files()
        copying = ("--output", "theirs/n", "--link", "copy")
        for words in (("convert", "theirs/c", "theirs/n", "--to", "cairn"), ("convert", "theirs/c", "theirs/n", "--to", "safetensors"),
                      ("salvage", "theirs/c", "theirs/n"), ("merge", "theirs/c", *copying), ("cp", "theirs/c", "theirs/n"),
                      ("cp", "theirs/s.safetensors", "theirs/n"), ("rename", "theirs/c", "--map", "v1=x", *copying),
                      ("import", "theirs/saved/train2-8", *copying), ("export", "theirs/c", "--to", "safetensors", *copying),
                      ("save", "theirs/saved/train2", "--step", "10", "v1:int32=1")):
            with self.subTest(words):
                self.assertRegex(self.cairn(*words, exit=FAILED).err, NO_LOCKS)
                self.assertEqual(self.files(), before)

    def test_without_mmap(self):
        ran = self.run_table(self.without("mmap"), said=NO_MMAP)
        self.assertIsNotNone(ran.json["stayed_resident"])
        self.assert_read(ran)

    def test_without_mmap_and_cachestat(self):
        ran = self.run_table(self.without("mmap", "cachestat"), said=NO_MMAP)
        self.assert_unknown_residency(ran)
        self.assert_read(ran)

    def test_a_limit_of_a_files_size_is_an_error_and_no_signal(self):
        before = self.files()
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        self.how = {"preexec_fn": limit}
        for words in (("save", "theirs/saved/train2", "--step", "10", "v:int8=1", "--replace"), ("convert", "theirs/c", "theirs/n",
                      "--to", "cairn"), ("merge", "theirs/c", "--output", "theirs/n", "--link", "copy")):
            with self.subTest(words):
                said = self.cairn(*words, exit=FAILED).err
                self.assertIn("File too large (see 'ulimit -f', or the limit of the file system)", said)
                self.assertEqual(self.files(), before)

    def test_another_user_without_any_of_it(self):
        how = {**self.as_other(), **self.without("mmap", "locks", "cachestat")}
        ran = self.run_table(how, said=NO_MMAP, refused=NOT_ALLOWED)
        self.assert_unknown_residency(ran)
        self.assert_read(ran)


if __name__ == "__main__":
    unittest.main()
