"""What `cairn bench` prints and writes. No figure is checked, only that it is there and can be true."""

import os
import re
import resource
import signal
import subprocess
import time
import unittest
import xml.etree.ElementTree

from bundle import write_safetensors
from command import CAIRN, FAILED, YES, CommandTest

ALWAYS = [("open", None), ("open", "first")] + [
    (step, state) for step in ("touch", "verify", "copy", "restore", "pread", "cat", "new process")
    for state in ("warm", "cold")]
SVG = "{http://www.w3.org/2000/svg}"

# Packages of nobody's: they say what they were asked, and give what can be touched.
SAFETENSORS = """
import os
class Tensor:
    reshape = view = lambda self, *_: self
    __getitem__ = sum = item = lambda self, *_: self
def load_file(path):
    with open(os.environ["ASKED"], "a") as out:
        print(__name__, path, file=out)
    print("a package that talks")
    return {"w": Tensor()}
"""
TENSORFLOW = """
import os
__version__ = "2.0-fake"
class Reader:
    def get_variable_to_shape_map(self): return {"v1": [], "v2": []}
    def get_tensor(self, name):
        with open(os.environ["ASKED"], "a") as out:
            print(__name__, self.path, name, file=out)
class train:
    def load_checkpoint(path):
        reader = Reader()
        reader.path = path
        return reader
"""


def label(row):
    return row["step"] if row["state"] is None else "%s, %s" % (row["step"], row["state"])


class BenchTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/sharded")
        self.golden("tensorflow/saver_walk/saved")

    def bench(self, *words, path="sharded/shard-42", exit=YES):
        return self.cairn("bench", path, "--repeat", "1", "--json", *words, exit=exit).json

    def rows(self, report):
        return [(row["step"], row["state"]) for row in report["rows"]]


class Bench(BenchTest):
    def test_bench_has_exactly_the_fields_of_the_contract(self):
        report = self.cairn("bench", "sharded/shard-42", "--repeat", "2", "--json", exit=YES).json
        self.assertEqual(
            list(report),
            ["path", "bytes", "unchecked_bytes", "tensors", "repeat", "open_us", "touch_ms", "verify_ms", "copy_ms",
             "restore_ms", "method", "stayed_resident", "format", "file_bytes", "place", "cores", "first_opens", "memory",
             "peers", "rows"],
        )
        self.assertEqual((report["bytes"], report["tensors"], report["repeat"]), (336, 7, 2))
        self.assertEqual((report["format"], report["memory"], report["peers"]), ("tensorflow", None, []))
        self.assertEqual(report["first_opens"], 21)
        self.assertEqual(report["file_bytes"], sum(
            os.path.getsize(file) for file in (self.dir / "sharded").glob("shard-42.data-*")))
        self.assertEqual(list(report["place"]), ["file_system", "source", "model", "rotational"])
        spreads = [report["open_us"]]
        for step in ("touch_ms", "verify_ms", "copy_ms", "restore_ms"):
            self.assertEqual(list(report[step]), ["warm", "cold"])
            spreads += report[step].values()
        self.assertEqual(self.rows(report), ALWAYS)
        for row in report["rows"]:
            self.assertEqual(list(row), ["step", "state", "us", "gb_per_s", "times_of_pread"])
            self.assertEqual(row["gb_per_s"] is None, row["step"] == "open")
            self.assertEqual(row["times_of_pread"] is None, row["step"] == "open")
            spreads.append(row["us"])
        for spread in spreads:
            self.assertEqual(list(spread), ["min", "median", "max"])
            self.assertGreaterEqual(spread["min"], 0)
            self.assertLessEqual(spread["min"], spread["median"])
            self.assertLessEqual(spread["median"], spread["max"])
        self.assertEqual([row["times_of_pread"] for row in report["rows"] if row["step"] == "pread"], [1, 1])

    def test_a_text_says_what_was_measured_and_where(self):
        text = self.cairn("bench", "sharded/shard-42", "--repeat", "1", exit=YES).text
        self.assertIn("posix_fadvise", text)
        self.assertIn("  tensorflow, 7 tensors, 336 bytes\n  336 of 336 bytes have checksums\n", text)
        self.assertRegex(text, r"\n  \d+ cores?\n  1 run of each; open, first: 21 new processes\n")
        for step, state in ALWAYS:
            words = step if state is None else "%s, %s" % (step, state)
            self.assertRegex(text, r"(?m)^%s +[\d.]+ +[\d.]+ +[\d.]+  [um]s" % re.escape(words))
        table = text.split("\n\n")[1].splitlines()
        self.assertEqual(len(table), 1 + len(ALWAYS))
        for line in table:
            self.assertLessEqual(len(line), 80, line)

    def test_the_file_system_is_named(self):
        if not os.access("/proc/self/mountinfo", os.R_OK):
            self.skipTest("no /proc/self/mountinfo")
        wanted = subprocess.run(["stat", "-f", "-c", "%T", "."], cwd=self.dir, capture_output=True, text=True).stdout.strip()
        found = self.bench()["place"]["file_system"]
        self.assertTrue(found)
        if found in ("tmpfs", "xfs", "btrfs"):
            self.assertEqual(found, wanted)

    def test_processes_restore_together(self):
        report = self.bench("--processes", "3")
        self.assertEqual(self.rows(report), ALWAYS + [("3 processes", "warm"), ("3 processes", "cold")])
        if report["memory"] is not None:  # the system may not tell
            self.assertEqual(report["memory"]["processes"], 3)
            self.assertGreater(report["memory"]["pss_bytes_max"], 0)
            self.assertGreaterEqual(report["memory"]["pss_bytes"], report["memory"]["pss_bytes_max"])

    def test_what_is_decoded_has_no_file_to_drop(self):
        self.golden("pytorch/deflated.pt")
        self.assertEqual(self.rows(self.bench(path="deflated.pt")), [row for row in ALWAYS if row[0] != "verify"])

    def test_damage_is_said_and_nothing_else(self):
        self.flip_bit(self.dir / "saved/train2-9.data-00000-of-00001", 1)
        ran = self.cairn("bench", "saved/train2-9", "--repeat", "1", "--report", "r.md", exit=FAILED)
        self.assertEqual(ran.text, "")
        self.assertIn("damaged", ran.err)
        self.assertFalse((self.dir / "r.md").exists())

    def test_wrong_words_are_refused_before_anything_is_measured(self):
        for words, said in ((("--report", "r.txt"), "'r.txt' ends neither in .md nor in .svg"),
                            (("--save", "nowhere"), "nowhere is not a directory"), (("--processes", "0"), "0"),
                            (("--as-process-of-bench", "open"), "--as-process-of-bench")):
            with self.subTest(words):
                ran = self.cairn("bench", "saved/train2-9", *words, exit=FAILED)
                self.assertEqual((ran.text, len(ran.err.splitlines())), ("", 1))
                self.assertIn(said, ran.err)


class Save(BenchTest):
    def below(self):
        return sorted(os.listdir(self.dir / "out"))

    def setUp(self):
        super().setUp()
        (self.dir / "out").mkdir()

    def test_every_kind_of_tensor_is_saved_and_removed(self):
        self.golden("tensorflow/strings")
        self.golden("tensorflow/partitioned")
        self.golden("gguf/types.gguf")
        for path in ("saved/train2-9", "strings/all", "partitioned/part", "types.gguf"):
            with self.subTest(path):
                report = self.bench("--save", "out", path=path)
                self.assertEqual(self.rows(report)[-1], ("save", "durable"))
                self.assertIsNotNone(report["rows"][-1]["gb_per_s"])
                self.assertEqual(self.below(), [])

    def test_a_save_that_fails_costs_no_other_figure(self):
        self.how = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))}
        ran = self.cairn("bench", "sharded/shard-42", "--repeat", "1", "--json", "--save", "out", exit=FAILED)
        self.assertEqual(self.rows(ran.json), ALWAYS)
        self.assertIn("File too large", ran.err)
        self.assertEqual(self.below(), [])

    def test_a_signal_leaves_nothing_behind(self):
        write_safetensors(self.dir / "large.safetensors", {"w": ("U8", [32 << 20], bytes(32 << 20))})
        for signum in (signal.SIGINT, signal.SIGTERM):
            running = subprocess.Popen([CAIRN, "bench", "large.safetensors", "--repeat", "4", "--save", "out"], cwd=self.dir,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       preexec_fn=lambda: signal.signal(signum, signal.SIG_DFL))
            self.addCleanup(running.kill)
            while running.poll() is None and not list((self.dir / "out").glob(".cairn-bench-*/saved/*")):
                time.sleep(0.001)
            running.send_signal(signum)
            out, said = running.communicate(timeout=60)
            self.assertEqual((running.returncode, out, self.below()), (-signum, "", []), said)
            self.assertIn("cairn: stopped by a signal", said)


class Reports(BenchTest):
    def test_a_table_and_a_chart_have_every_row(self):
        write_safetensors(self.dir / "a&b|<c>.safetensors", {"w": ("F32", [2], bytes(8))})
        report = self.bench("--report", "r.md", "--report", "r.svg", "--processes", "2", path="a&b|<c>.safetensors")
        labels = [label(row) for row in report["rows"]]
        self.assertNotIn("verify, warm", labels)
        page = (self.dir / "r.md").read_text()
        self.assertTrue(page.startswith("# cairn bench a\\&b\\|\\<c\\>.safetensors\n"))
        table = [line for line in page.splitlines() if line.startswith("|")]
        self.assertEqual([line.split(" | ")[0].strip("| ") for line in table[2:]], labels)
        self.assertEqual({line.count("|") for line in table}, {7})
        self.assertIn("\n- 0 of 8 bytes have checksums\n", page)

        root = xml.etree.ElementTree.parse(self.dir / "r.svg").getroot()
        self.assertEqual(root.tag, SVG + "svg")
        texts = [text.text for text in root.iter(SVG + "text")]
        self.assertEqual(texts[0], "cairn bench a&b|<c>.safetensors")
        self.assertEqual([text for text in texts if text in labels], labels)
        self.assertRegex(texts[-1], r"the scale is (logarithmic|linear)\.$")
        bars = [bar for bar in root.iter(SVG + "rect") if bar.get("class") in ("cairn", "machine") and bar.get("height") != "11"]
        self.assertEqual(len(bars), len(labels))
        width = float(root.get("width"))
        for bar in bars:
            self.assertGreaterEqual(float(bar.get("width")), 0)
            self.assertLess(float(bar.get("x")) + float(bar.get("width")), width)

    def test_a_path_cannot_break_a_report(self):
        name = "e\x1b[31m\ufffe\udcff.safetensors"
        write_safetensors(os.fsencode(os.fspath(self.dir)) + b"/" + os.fsencode(name), {"w": ("F32", [2], bytes(8))})
        self.cairn("bench", name, "--repeat", "1", "--report", "r.svg", "--report", "r.md", exit=YES)
        xml.etree.ElementTree.parse(self.dir / "r.svg")
        self.assertNotIn("\x1b", (self.dir / "r.md").read_text())

    def test_a_report_that_cannot_be_written_is_a_failure(self):
        ran = self.cairn("bench", "saved/train2-9", "--repeat", "1", "--json", "--report", "no/r.md", exit=FAILED)
        self.assertEqual(self.rows(ran.json), ALWAYS)
        self.assertIn("the report no/r.md cannot be written: No such file or directory", ran.err)


class Peers(BenchTest):
    def setUp(self):
        super().setUp()
        (self.dir / "fake").mkdir()
        self.asked = self.dir / "asked"
        self.how = {"env": {**os.environ, "PYTHONPATH": str(self.dir / "fake"), "PYTHONNOUSERSITE": "1",
                            "ASKED": str(self.asked)}}

    def package(self, name, text=None):
        if text is None:
            (self.dir / "fake" / name).mkdir()
            (self.dir / "fake" / name / "__init__.py").write_text('__version__ = "0.0-fake"\n')
            for part in ("numpy", "torch"):
                (self.dir / "fake" / name / (part + ".py")).write_text(SAFETENSORS)
        else:
            (self.dir / "fake" / (name + ".py")).write_text(text)

    def absent(self, name):
        self.package(name, "raise ModuleNotFoundError('not here', name=%r)" % name)

    def peers(self, **where):
        report = self.bench("--peers", **where)
        return report, {peer["name"]: peer for peer in report["peers"]}

    def test_packages_that_are_there_are_asked_in_new_processes(self):
        self.package("tensorflow", TENSORFLOW)
        self.package("safetensors")
        report, peers = self.peers(path="saved/train2-9")
        self.assertEqual(self.rows(report), ALWAYS + [("tensorflow", "warm"), ("tensorflow", "cold")])
        self.assertEqual(peers["tensorflow"], {"name": "tensorflow", "version": "2.0-fake", "why_not": None})
        self.assertIn("no header of safetensors", peers["safetensors"]["why_not"])
        self.assertEqual(self.asked.read_text(),
                         "tensorflow saved/train2-9 v1\ntensorflow saved/train2-9 v2\n" * 2)

    def test_bfloat16_is_asked_of_torch(self):
        self.package("safetensors")
        (self.dir / "fake" / "torch.py").write_text("uint8 = None\n")
        self.absent("tensorflow")
        for dtype, size, module in (("F32", 8, "numpy"), ("BF16", 4, "torch")):
            write_safetensors(self.dir / (module + ".safetensors"), {"w": (dtype, [2], bytes(size))})
            report, peers = self.peers(path=module + ".safetensors")
            self.assertEqual(self.rows(report)[-2:], [("safetensors", "warm"), ("safetensors", "cold")])
            self.assertEqual(peers["safetensors"]["version"], "0.0-fake")
            self.assertIn("safetensors.%s %s.safetensors\n" % (module, module), self.asked.read_text())
            self.assertIn("no index of TensorFlow's", peers["tensorflow"]["why_not"])

    def test_a_checkpoint_of_ours_is_read_by_both(self):
        self.package("tensorflow", TENSORFLOW)
        self.package("safetensors")
        self.cairn("convert", "saved/train2-9", "m", "--to", "cairn", exit=YES)
        report, _ = self.peers(path="m")
        self.assertEqual([step for step, _ in self.rows(report)[-4:]], ["safetensors"] * 2 + ["tensorflow"] * 2)

    def test_one_that_is_not_there_or_fails_gets_a_sentence(self):
        self.absent("tensorflow")
        report, peers = self.peers(path="saved/train2-9")
        self.assertEqual(self.rows(report), ALWAYS)
        self.assertEqual(peers["tensorflow"]["why_not"], "not measured: python3 has no package 'tensorflow'")
        for text, said in (("raise ImportError('x')", "no package"), (TENSORFLOW + "Reader = None", "failed: TypeError"),
                           ("import os; os._exit(0)", "ended without an answer")):
            with self.subTest(text):
                self.package("tensorflow", text)
                self.assertIn(said.replace("failed: ", ""), self.peers(path="saved/train2-9")[1]["tensorflow"]["why_not"])
        self.how["env"]["PATH"] = str(self.dir)
        self.assertIn("python3 cannot be started", self.peers(path="saved/train2-9")[1]["tensorflow"]["why_not"])

    def test_the_directory_of_the_caller_is_no_place_of_packages(self):
        self.absent("tensorflow")
        (self.dir / "tensorflow.py").write_text("open('run', 'w')\n" + TENSORFLOW)
        _, peers = self.peers(path="saved/train2-9")
        self.assertIn("no package", peers["tensorflow"]["why_not"])
        self.assertFalse((self.dir / "run").exists())


if __name__ == "__main__":
    unittest.main()
