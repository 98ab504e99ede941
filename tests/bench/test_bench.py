"""The benchmarks' runner, pages, targets and plots, on figures that were made up. No figure is judged."""
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from contextlib import redirect_stdout

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("CAIRN_BENCH_BUILD", os.path.join(ROOT, "build"))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import plots
import report
import targets
from figures import Figures, duration, group, size, times
from questions import PEERS, QUESTIONS, question

PLAIN = ("plain-mmap", "plain-populate", "plain-pread", "plain-pread-sum", "plain-sum", "plain-memcpy", "plain-write",
         "fio io_uring, 1M × 32, 1 job")
CAIRN = ("cairn", "cairn-memory", "cairn-restore", "cairn-unchecked")


def made_up(asked, us):
    """What run.py would have measured if each contender took `us(contender)`."""
    counters = {"pss_bytes": 498e6, "anonymous_bytes": 40000, "index_bytes": 16000} if asked.name in ("processes", "growth") else {}
    payloads = dict.fromkeys(payload for part in asked.parts for payload in part.payloads)
    figures = [{"payload": payload, "ask": part.ask, "contender": contender, "median_us": us(contender),
                "min_us": us(contender) * 0.9, "max_us": us(contender) * 1.2, "samples_us": [us(contender)], "counters": counters}
               for part in asked.parts for payload in part.payloads for contender in (*CAIRN, *PLAIN, *PEERS)
               if not part.only or contender in part.only]
    return {"question": asked.name, "command": "./dev bench", "repetitions": 1, "date": "2026-01-01 00:00 UTC",
            "machine": {"cpu": "made up", "cores": 2, "memory_bytes": 1 << 34, "kernel": "Linux", "file_system": "ext4"},
            "load_average": {"before": 0, "after": 0}, "versions": {"cairn": "0"}, "absent": ["torch"], "skipped": [],
            "payloads": [{"name": p, "tensors": 10 + i, "bytes": 498 * 10**6 + i, "one": "t"} for i, p in enumerate(payloads)],
            "figures": figures}


def fast(contender):
    return {"cairn": 10.0, "machine": 10.0, "peer": 1e6}[group(contender)]


def slow(contender):
    return {"cairn": 1e6, "machine": 10.0, "peer": 10.0}[group(contender)]


def all_results(us):
    return {asked.name: made_up(asked, us) for asked in QUESTIONS}


class Words(unittest.TestCase):
    def test_numbers_have_three_digits_and_a_unit_that_fits(self):
        self.assertEqual([duration(us) for us in (0.25, 15.04, 1730, 66400, 2.5e6)],
                         ["250 ns", "15.0 µs", "1.73 ms", "66.4 ms", "2.50 s"])
        self.assertEqual([times(0.127), times(3.8), times(73.2), times(128)], ["0.127×", "3.80×", "73.2×", "128×"])
        self.assertEqual([size(512), size(3 << 20), size(5 << 30)], ["0.500 KiB", "3.00 MiB", "5.00 GiB"])


class Targets(unittest.TestCase):
    def verdicts(self, results):
        return {what: targets.verdict(checks) for _, what, _, checks in targets.Targets(Figures(results)).all()}

    def test_what_is_fast_meets_its_targets(self):
        found = self.verdicts(all_results(fast))
        for what in ("open, `many`", "cold restore, checked", "save, synced", "import"):
            self.assertEqual(found[what], "met", what)

    def test_what_is_slow_misses_them(self):
        found = self.verdicts(all_results(slow))
        for what in ("open, `many`", "first touch of everything, warm, `gpt2`", "save without sync", "import"):
            self.assertIn("missed", found[what], what)

    def test_what_was_not_measured_is_not_called_met(self):
        self.assertEqual(set(self.verdicts({}).values()), {"not measured"})
        one_peer_less = all_results(fast)
        for result in one_peer_less.values():
            result["figures"] = [f for f in result["figures"] if f["contender"] != "safetensors-rust"]
        self.assertEqual(self.verdicts(one_peer_less)["open, `many`"], "met, as far as measured")


class Pages(unittest.TestCase):
    def test_pages_are_made_of_raw_figures_and_replace_the_old(self):
        with tempfile.TemporaryDirectory() as docs:
            front = os.path.join(docs, "front.md")
            report.write(front, f"before\n{report.START}old\n{report.END}after\n")
            report.write(os.path.join(docs, "docs", "left.md"), "of the last run")
            docs = os.path.join(docs, "docs")
            for name, result in all_results(fast).items():
                report.write(os.path.join(docs, "raw", f"{name}.json"), report.raw_text(result))
            self.assertEqual(report.read_raw(docs), all_results(fast))
            with redirect_stdout(io.StringIO()):
                report.publish(docs, front)
            made = os.listdir(docs)
            self.assertNotIn("left.md", made)
            self.assertLessEqual({f"{asked.name}.md" for asked in QUESTIONS} | {"README.md"}, set(made))
            with open(front, encoding="utf-8") as file:
                text = file.read()
            self.assertTrue(text.startswith("before\n") and text.endswith("after\n"))
            self.assertIn("| open 148 tensors, 498 MB (GPT-2), by `P.cairn` | 10.0 µs · 10.0 µs |", text)

    def test_a_page_says_what_was_asked_and_who_was_not_there(self):
        asked = question("copy")
        text = report.page(asked, made_up(asked, fast))
        for words in (asked.about, "Not there: PyTorch", "load average 0.0", "plain memcpy from a mapping", "made up"):
            self.assertIn(words.lower(), text.lower())


class Plots(unittest.TestCase):
    def test_each_question_has_a_chart_with_something_on_it(self):
        for asked in QUESTIONS:
            charts = plots.plan(asked, made_up(asked, fast))
            self.assertTrue(charts, asked.name)
            self.assertEqual(len(charts), len({chart.name for chart in charts}), asked.name)

    def test_charts_can_be_drawn(self):
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            self.skipTest("skipped: matplotlib is not there")
        with tempfile.TemporaryDirectory() as docs:
            for asked in (question("touch"), question("processes")):
                for name in plots.draw(asked, made_up(asked, fast), docs):
                    self.assertGreater(os.path.getsize(os.path.join(docs, f"{name}.png")), 1000)


class Runner(unittest.TestCase):
    def test_a_question_is_asked_without_any_peer(self):
        if not os.path.exists(os.path.join(BUILD, "bench", "open")):
            self.skipTest("skipped: the benchmarks are not built")
        command = [sys.executable, os.path.join(ROOT, "bench", "run.py"), "--quick", "--payloads", "lora", "--build", BUILD,
                   "--python", "nowhere", "open"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        for words in ("tensorflow is left out: ", "open: `lora`, 1,000 tensors, 4,096,000 bytes", "| Cairn, `P.cairn` | "):
            self.assertIn(words, done.stdout)
        self.assertEqual(os.listdir(os.path.join(BUILD, "bench-data")), [])


if __name__ == "__main__":
    unittest.main()
