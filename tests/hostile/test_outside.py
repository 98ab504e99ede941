"""No name in a file makes Cairn open anything outside of the file's directory: the kernel's word for it.

usage: test_outside.py PROGRAM      tests/hostile/outside
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = os.path.abspath(sys.argv.pop(1))
OPENED = re.compile(r"\b(?:open|openat|openat2|creat)\(.*= \d+<(.*?)>(?: |$)", re.M)
# What any program opens: its libraries, and what the library asks the kernel about the machine.
SYSTEM = re.compile(r"^(?:/usr/|/lib|/etc/ld\.so|/etc/locale|/proc/self/(?:auxv|cgroup|mountinfo)|/proc/\d+/(?:auxv|cgroup|mountinfo)"
                    r"|/sys/fs/cgroup|/sys/devices/system/cpu|/proc/meminfo)")


def opened_outside(program, folder):
    """The paths outside of folder/in that a run opened, and what it said."""
    trace = os.path.join(folder, "trace")
    command = ["strace", "-f", "-y", "-s", "5000", "-e", "trace=%file", "-e", "signal=none", "-o", trace, *program]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="replace", timeout=120)
    with open(trace, encoding="utf-8", errors="replace") as file:
        opened = OPENED.findall(file.read())
    inside = os.path.join(os.path.realpath(folder), "in")
    foreign = [path for path in opened if path != inside and not path.startswith(inside + "/") and not SYSTEM.match(path)]
    return foreign, len(opened), done


@unittest.skipUnless(shutil.which("strace"), "skipped: strace is not there")
class Outside(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        subprocess.run([PROGRAM, "setup", self.folder], check=True)

    def test_no_name_in_a_file_leads_out_of_its_directory(self):
        foreign, opened, done = opened_outside([PROGRAM, "use", self.folder], self.folder)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(foreign, [])
        self.assertGreater(opened, 100)
        names = int(re.match(r"(\d+) names", done.stdout).group(1))
        self.assertGreaterEqual(names, 60)
        print(f"{names} names in two places, {opened} opens, 0 outside", file=sys.stderr)

    def test_a_reader_that_follows_is_seen(self):
        foreign, _, _ = opened_outside(["cat", os.path.join(self.folder, "in", "link", "m.index")], self.folder)
        self.assertEqual([os.path.basename(path) for path in foreign], ["m.index"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
