"""The fuzz run, in short, and that it finds what is wrong on purpose."""
import itertools
import os
import unittest
from unittest import mock

import cairn_store
import fuzz_binding
import run


def short(seed, threads, **limit):
    return fuzz_binding.fuzz(seed, fuzz_binding.limit_of(limit.get("seconds"), limit.get("calls")), threads,
                             run.memory_folder())


class Fuzz(unittest.TestCase):
    def test_random_calls_in_threads(self):
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"seed {seed}")
        calls, failures = short(seed, 8, seconds=4)
        self.assertEqual(failures, [], "\n".join(failures))
        print(f"{calls} calls")
        self.assertGreater(calls, 100)

    def test_the_same_seed_makes_the_same_calls(self):
        def calls_of(seed):
            noted = []
            with mock.patch.object(fuzz_binding.Player, "note", lambda player, *words: noted.append(words[0])):
                self.assertEqual(short(seed, 1, calls=60)[1], [])
            return noted

        self.assertEqual(calls_of(5), calls_of(5))
        self.assertNotEqual(calls_of(5), calls_of(6))

    def found(self, words):
        failures = short(1, 2, calls=400)[1]
        self.assertTrue(failures)
        self.assertIn(words, failures[0])

    def test_a_wrong_value_is_found(self):
        real, count = cairn_store.Tensor.numpy, itertools.count()

        def wrong(tensor):
            array = real(tensor)
            if next(count) % 100 != 99 or array.dtype == object or not array.nbytes:
                return array
            array = array.copy()
            array.reshape(-1).view("uint8")[0] ^= 1
            return array

        with mock.patch.object(cairn_store.Tensor, "numpy", wrong):
            self.found("a wrong answer")

    def test_an_exception_that_nobody_documents_is_found(self):
        real = cairn_store._cairn.save

        def wrong(*args):
            try:
                return real(*args)
            except TypeError as error:
                raise SystemError("returned a result with an exception set") from error

        with mock.patch.object(cairn_store._cairn, "save", wrong):
            self.found("SystemError")

    def test_a_mapping_that_stays_is_found(self):
        real, kept = cairn_store.open, []

        def keeping(path, **words):
            kept.append(real(path, **words))
            return kept[-1]

        with mock.patch.object(cairn_store, "open", keeping):
            self.found("still mapped or open")


if __name__ == "__main__":
    unittest.main()
