"""Four processes at a time share the file, as the table of processes.py says."""
import unittest

from engines import Case, MADE, MIB, needs

needs("onnxruntime")
needs("openvino")
import processes


def mean(seen, key):
    return sum(sums[key] for _, _, sums in seen) / len(seen)


class Processes(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        processes.make_files(MADE)

    def together(self, *ways):
        seen = processes.together(list(ways), MADE)
        self.assertEqual(len(seen), 4)
        self.assertEqual(len({(way, digest) for way, digest, _ in seen}), len(ways))
        return seen

    def test_onnxruntime_and_openvino_share_one_file_and_give_the_same_vectors(self):
        nothing = self.together(processes.nothing)
        served = self.together(processes.ort_cairn)
        both = self.together(processes.ort_cairn, processes.openvino_cairn)
        self.assertLess(mean(served, "own") - mean(nothing, "own"), 16 * MIB)  # 86 MiB of weights, none of its own
        for seen in (served, both):
            self.assertLess(mean(seen, "weights"), 87 * MIB / 4 + MIB)  # the file, once for four
            self.assertGreater(mean(seen, "weights"), 10 * MIB)
        packed = self.together(processes.ort_prepacked)
        self.assertGreater(mean(packed, "own") - mean(served, "own"), 32 * MIB)  # the weights of matrix products, again
        inside = self.together(processes.ort_own)
        self.assertEqual(packed[0][1], inside[0][1])
        self.assertGreater(mean(inside, "own") - mean(served, "own"), 32 * MIB)


if __name__ == "__main__":
    unittest.main()
