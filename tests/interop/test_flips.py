"""One wrong bit, for Cairn and for those whose files it reads. The whole table: flips.py."""
import unittest

import command
import flips

EVERY = 61  # bits; prime, so that all bits of a byte have their turn


class Flips(unittest.TestCase):
    def test_no_reader_of_ours_gives_wrong_values_where_a_sum_covers_them(self):
        told = {}
        for reader, checkpoint, file, counts in flips.measure(command.READ_DRIVER, command.cairn, EVERY):
            told[reader, checkpoint, file] = counts
            print(f"{reader}, {checkpoint}, {file}: {counts}", flush=True)
        for (reader, checkpoint, file), counts in told.items():
            if reader == "Cairn":
                self.assertEqual(counts["died"], 0, file)
                if checkpoint != "safetensors":
                    self.assertEqual(counts["wrong"], 0, file)
        for file in ("m.cairn", "m.data-00000-of-00001"):
            self.assertEqual(told["Cairn", "cairn", file]["same"], 0)
        # The measure sees what it must: safetensors has no sums.
        self.assertGreater(told["safetensors", "safetensors", "m.safetensors"]["wrong"], 0)
