"""Runs the fuzz targets, and counts.

usage: run.py BUILD [TARGET…] [--seconds N] [--minimize]

Each target begins with tests/fuzz/corpus/TARGET and with what it found before, in BUILD/fuzz/TARGET. Without --seconds
it runs until it has seen what a release asks for: ten million inputs, a hundred thousand of those that need files.
A crash, a leak, a hang or 512 MB of memory ends it. An input that takes longer than a second, also when it is alone, makes
it fail. These inputs stay in BUILD/fuzz.
--minimize replaces the corpus by the fewest inputs that reach the same code, and does nothing else.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = tuple(sorted(name.removesuffix("_fuzz.cc") for name in os.listdir(HERE) if name.endswith("_fuzz.cc")))
WITH_FILES = ("directory", "distributed", "round_trip")
RUNS = {target: 10**5 if target in WITH_FILES else 10**7 for target in TARGETS}
TIMEOUT_S = 20
LENGTH_MAX = {"directory": 16_384, "index": 8_192, "bundle": 4_096, "table": 4_096, "v1": 4_096,
              "hdf5": 16_384, "distributed": 8_192}
SANITIZERS = {"ASAN_OPTIONS": "quarantine_size_mb=16:detect_leaks=1:detect_stack_use_after_return=0",
              "UBSAN_OPTIONS": "print_stacktrace=1",
              "ASAN_SYMBOLIZER_PATH": shutil.which("llvm-symbolizer-19") or shutil.which("llvm-symbolizer") or ""}


class Target:
    def __init__(self, build, name):
        self.name = name
        self.program = os.path.join(build, "tests", "fuzz", f"fuzz_{name}")
        self.kept = os.path.join(HERE, "corpus", name)
        self.found = os.path.join(build, "fuzz", name)
        os.makedirs(self.found, exist_ok=True)

    def command(self, *options):
        return [self.program, f"-max_len={LENGTH_MAX.get(self.name, 2_048)}", f"-timeout={TIMEOUT_S}",
                f"-report_slow_units={self.slow_s()}", "-rss_limit_mb=512", f"-artifact_prefix={self.found}-", *options]

    def slow_s(self):
        return 5 if self.name in WITH_FILES else 1

    def run(self, seconds):
        """What it came to, as a line and whether it held."""
        amount = f"-max_total_time={seconds}" if seconds else f"-runs={RUNS[self.name]}"
        folders = [folder for folder in (self.found, self.kept) if os.path.isdir(folder)]
        done = subprocess.run(self.command(amount, "-print_final_stats=1", *folders), capture_output=True, text=True,
                              errors="replace", env={**os.environ, **SANITIZERS})
        said = done.stderr + done.stdout
        slow = [artifact for artifact in re.findall(r"Test unit written to (.*slow-unit.*)", said) if self.is_slow(artifact)]
        if done.returncode != 0 or slow:
            return f"{self.name}: FAILED\n{said[-4000:]}" + "".join(f"\nslow: {artifact}" for artifact in slow), False
        stat = {key: int(value) for key, value in re.findall(r"^stat::(\w+): +(\d+)$", said, re.M)}
        seed = re.search(r"INFO: Seed: (\d+)", said)
        return (f"{self.name}: {stat['number_of_executed_units']:,} inputs, {stat['average_exec_per_sec']:,} a second, "
                f"{stat['peak_rss_mb']} MB at most, seed {seed.group(1) if seed else 'unknown'}"), True

    def is_slow(self, artifact):
        """Whether the input takes too long when it is alone too: if not, the machine stood still, and it is removed."""
        alone = subprocess.Popen(self.command(artifact), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                 env={**os.environ, **SANITIZERS})
        usage = os.wait4(alone.pid, 0)[2]
        spent_s = usage.ru_utime + usage.ru_stime
        if spent_s < self.slow_s():
            os.remove(artifact)
        return spent_s >= self.slow_s()

    def minimize(self):
        fresh = f"{self.kept}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh)
        folders = [folder for folder in (self.kept, self.found) if os.path.isdir(folder)]
        subprocess.run(self.command("-set_cover_merge=1", "-use_value_profile=0", "-use_counters=0", fresh, *folders), check=True, capture_output=True,
                       env={**os.environ, **SANITIZERS})
        shutil.rmtree(self.kept, ignore_errors=True)
        os.rename(fresh, self.kept)
        sizes = [os.path.getsize(os.path.join(self.kept, name)) for name in os.listdir(self.kept)]
        return f"{self.name}: {len(sizes)} inputs, {sum(sizes):,} bytes", True


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("build")
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    arguments.add_argument("--seconds", type=int, default=0, help="for each target")
    arguments.add_argument("--minimize", action="store_true")
    options = arguments.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        arguments.error(f"no such target: {', '.join(sorted(unknown))}")
    targets = [Target(os.path.abspath(options.build), name) for name in options.targets or TARGETS]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for line, held in pool.map(lambda t: t.minimize() if options.minimize else t.run(options.seconds), targets):
            print(line, flush=True)
            failed += not held
    print(f"{len(targets) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
