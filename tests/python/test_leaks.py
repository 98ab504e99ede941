"""The leak run, in short, and that it finds each kind of leak."""
import ctypes
import mmap
import os
import subprocess
import sys
import unittest

import leaks

CALLS = 40


def written():
    """A private mapping whose pages are in memory."""
    mapped = mmap.mmap(-1, 1 << 16, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapped.write(b"x" * (1 << 16))
    return mapped


class Counted(unittest.TestCase):
    def test_no_operation_leaks(self):
        count, found = leaks.measure(CALLS)
        self.assertEqual(found, {})
        print(f"{count} operations")

    def test_each_kind_of_leak_is_found(self):
        kept = []
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        kinds = {
            "blocks of Python": lambda: kept.append(object()),
            "bytes of the heap": lambda: libc.malloc(40),
            "references of progress": lambda: kept.append(leaks.progress),
            "references of None": lambda: kept.append(None),
            "descriptors": lambda: kept.append(os.open(os.devnull, os.O_RDONLY)),
            "mappings": lambda: kept.append(mmap.mmap(-1, 4096, mmap.MAP_SHARED)),
            "RssAnon": lambda: kept.append(written()),
        }
        for name, leak in kinds.items():
            with self.subTest(name):
                if name == "bytes of the heap" and not leaks.heap_bytes():
                    continue  # this C library cannot tell
                self.assertIn(name, leaks.leaks_of(leak, CALLS))
        for one in kept:
            if isinstance(one, int):
                os.close(one)


class Sanitized(unittest.TestCase):
    def test_leak_sanitizer_finds_nothing_but_what_is_lost_on_purpose(self):
        done = subprocess.run([sys.executable, leaks.__file__, sys.argv[1], "--lsan", "--calls=3"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


# The malloc of the sanitizers keeps what was freed for a while, so that counting says nothing there.
if hasattr(ctypes.CDLL(None), "__lsan_do_recoverable_leak_check"):
    del Counted
else:
    del Sanitized

if __name__ == "__main__":
    unittest.main()
