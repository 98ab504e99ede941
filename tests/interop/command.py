"""The command under test, and what every case needs: a directory of its own, and comparisons by value."""
import json
import os
import subprocess
import tempfile
import unittest

CAIRN = None
RETENTION_DRIVER = None
READ_DRIVER = None


class Refused(Exception):
    """The command ended with another status than 0."""

    def __init__(self, arguments, done):
        super().__init__(f"cairn {' '.join(arguments)} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
        self.status, self.output = done.returncode, done.stdout


def cairn(*arguments, cwd=None):
    """What the command prints, as bytes."""
    done = subprocess.run([CAIRN, *arguments], capture_output=True, cwd=cwd, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Refused(arguments, done)
    return done.stdout


def cairn_json(*arguments, cwd=None):
    return json.loads(cairn(*arguments, "--json", cwd=cwd))


class Case(unittest.TestCase):
    longMessage = True

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="cairn-interop-")
        self.addCleanup(folder.cleanup)
        self.folder = os.path.realpath(folder.name)

    def path(self, *names):
        """A path in this case's directory, whose parent is there."""
        path = os.path.join(self.folder, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, data, *names):
        path = self.path(*names)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def assert_cairn_reads(self, path, tensors, format):
        """`cairn ls` and `cairn cat --raw` say of `path` just what `tensors` (name → tensors.Tensor) says."""
        listed = cairn_json("ls", path)
        self.assertEqual(listed["format"], format)
        entries = {e["name"] if "name" in e else bytes.fromhex(e["name_hex"]): e for e in listed["tensors"]}
        self.assertEqual(sorted(entries, key=str), sorted(tensors, key=str))
        for name, tensor in tensors.items():
            with self.subTest(tensor=name):
                self.assertEqual((entries[name]["dtype"], entries[name]["shape"]), (tensor.dtype, tensor.shape))
                self.assertEqual(tensor.masked(cairn("cat", path, name, "--raw")), tensor.masked(tensor.raw))

    def assert_verifies(self, path):
        (report,) = cairn_json("verify", path)["checkpoints"]
        # Of what has no sums nobody can say it.
        self.assertIs(report["whole"], None if report["unchecked_bytes"] else True, report)
        self.assertEqual(report["damage"], [])
