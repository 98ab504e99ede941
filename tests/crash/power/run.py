"""Cuts the power under every kind of commit, and counts what is lost.

usage: run.py BUILD [--short | --long] [--seed N]     needs root, /dev/fuse, loop devices, mkfs.ext4, mkfs.xfs

For each file system and workload: record.cc logs what the workload does to a disk, replay.cc rebuilds the states that a
power cut may leave, and looks. Each is one case: nothing acknowledged may be lost, no byte may be wrong, every state
must mount. The controls are the same with syncs taken away, and pass only if something is lost.

Whatever ends this program: the others end with it, and mounts and loop devices with them. Only SIGKILL leaves the
scratch directory.
"""
import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = "tests/crash/power"
PROGRAMS = [f"{HERE}/power_{name}" for name in ("record", "replay", "workload", "workload_nosync")]
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "golden")
SKIPPED = 77

# The mount options that change what ext4 does for programs that do not sync, and XFS.
MODES = [("ext4", "noauto_da_alloc"), ("ext4", "data=ordered"), ("ext4", "data=writeback"), ("ext4", "nodelalloc"),
         ("xfs", "nouuid")]  # several copies of one file system at a time
WORKLOADS = ["saver", "over", "series", "import", "export", "convert"]
# The wrong subjects: whose syncs of files, of directories, of all do nothing.
CONTROLS = [("series", "files"), ("series", "directories"), *((workload, "all") for workload in WORKLOADS)]
# Where blocks are allocated at once and written before the journal, syncing a directory syncs its files: nothing to catch.
HARMLESS = [("nodelalloc", "files")]
MAKE = {"ext4": (32 << 20, ["mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-E",
                            "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]),
        "xfs": (300 << 20, ["mkfs.xfs", "-q", "-f", "-K", "-s", "size=512"])}  # XFS refuses smaller disks

Size = collections.namedtuple("Size", "modes whole_max torn_max")  # states an epoch: see replay.cc
SIZES = {"short": Size(MODES[:1], 1, 1), "normal": Size(MODES, 256, 6), "long": Size(MODES, 256, 24)}
FIELDS = ["epochs", "exhausted", "states", "lost", "wrong", "unmountable"]


class Skip(Exception):
    """What a case needs is not there."""


class Case(collections.namedtuple("Case", "mode workload without")):
    def __str__(self):
        return " ".join([*self.mode, self.workload, f"without syncs of {self.without}" if self.without else ""]).strip()


def require_programs(build):
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    if not os.path.exists("/dev/fuse"):
        raise Skip("there is no /dev/fuse")
    done = subprocess.run(["ninja", "-C", build, *PROGRAMS], capture_output=True, text=True)
    if "unknown target" in done.stdout + done.stderr:
        raise Skip("libfuse3-dev was not installed when the build directory was configured")
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)


def make_disk(scratch, type_name):
    """An empty file system in a sparse file."""
    size_bytes, command = MAKE[type_name]
    if not shutil.which(command[0]):
        raise Skip(f"{command[0]} is not installed")
    path = f"{scratch}/{type_name}"
    with open(path, "wb") as file:
        file.truncate(size_bytes)
    subprocess.run([*command, path], check=True)
    return path


class Runs:
    """What all cases share."""

    def __init__(self, build, scratch, size, seed):
        self.build = os.path.abspath(build)
        self.programs = {path.rpartition("power_")[2]: f"{self.build}/{path}" for path in PROGRAMS}
        self.scratch, self.size, self.seed = scratch, size, seed
        self.disks = {}
        self.children = set()

    def prepare(self):
        for type_name in dict.fromkeys(type_name for type_name, _ in self.size.modes):
            try:
                self.disks[type_name] = make_disk(self.scratch, type_name)
            except Skip as why:
                self.disks[type_name] = why

    def output_of(self, command, **options):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options) as child:
            self.children.add(child)
            output = child.communicate()[0]
            self.children.remove(child)
        if child.returncode == SKIPPED:
            raise Skip(output.strip().removeprefix("skipped: "))
        if child.returncode != 0:
            raise RuntimeError(f"{os.path.basename(command[0])} ended with {child.returncode}: {output.strip()}")
        return output

    def stop(self):
        for child in list(self.children):
            child.kill()

    def run(self, case):
        """The counts of one case, and what the replayer complained of."""
        base = self.disks[case.mode[0]]
        if isinstance(base, Skip):
            raise base
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            image, log = f"{folder}/recorded", f"{folder}/log"
            subprocess.run(["cp", "--sparse=always", base, image], check=True)
            workload = self.programs["workload_nosync" if case.without else "workload"]
            self.output_of(
                [self.programs["record"], image, log, folder, *case.mode, workload, case.workload, log, GOLDEN],
                env={**os.environ, "POWER_WITHOUT": case.without or ""})
            os.remove(image)
            most = (1, 1) if case.without else self.size[1:]
            *complaints, last = self.output_of([self.programs["replay"], base, log, folder, *case.mode, GOLDEN,
                                                *map(str, most), str(self.seed)]).splitlines()
            if complaints and not case.without:
                kept = f"{self.build}/power-failures/" + str(case).replace(" ", "-")
                os.makedirs(kept, exist_ok=True)
                subprocess.run(["cp", "--sparse=always", base, log, kept], check=True)
                complaints.append(f"for power_replay with seed {self.seed}, disk and log are in {kept}")
        return {name: int(re.search(rf"{name} (\d+)", last).group(1)) for name in FIELDS}, complaints


class Tally:
    def __init__(self):
        self.total = collections.Counter()
        self.caught = self.controls = self.passed = self.failed = self.skipped = 0

    def add(self, case, outcome):
        try:
            counts, complaints = outcome.result()
        except Skip as why:
            self.skipped += 1
            return print(f"power: {case}: skipped: {why}", flush=True)
        except RuntimeError as why:
            self.failed += 1
            return print(f"power: {case}: failed: {why}", flush=True)
        caught = counts["lost"] + counts["wrong"]
        right = bool(caught) == bool(case.without) and counts["states"] > 0 and counts["unmountable"] == 0
        self.passed, self.failed = self.passed + right, self.failed + (not right)
        print(f"power: {case}: " + ", ".join(f"{counts[name]} {name}" for name in FIELDS), flush=True)
        if case.without:
            self.controls, self.caught = self.controls + 1, self.caught + right
        else:
            self.total.update(counts)
            print(*(f"    {complaint}" for complaint in complaints), sep="\n", end="\n" if complaints else "")

    def __str__(self):
        counts = ", ".join(f"{self.total[name]} {name}" for name in FIELDS)
        return f"power: {counts}; controls caught: {self.caught} of {self.controls}"


def scratch_root():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def run_all(build, size, seed):
    cases = [Case(mode, workload, None) for mode in size.modes for workload in WORKLOADS]
    cases += [Case(mode, *control) for mode in size.modes for control in CONTROLS
              if (mode[1], control[1]) not in HARMLESS]
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="cairn-power-", dir=scratch_root()) as scratch:
        runs = Runs(build, scratch, size, seed)
        runs.prepare()
        # They wait for the kernel more than they compute.
        with concurrent.futures.ThreadPoolExecutor(2 * len(os.sched_getaffinity(0))) as pool:
            outcomes = [(case, pool.submit(runs.run, case)) for case in cases]
            try:
                for case, outcome in outcomes:
                    tally.add(case, outcome)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                runs.stop()
                raise
    return tally


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--short", dest="size", action="store_const", const="short", default="normal")
    parser.add_argument("--long", dest="size", action="store_const", const="long")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    chosen = parser.parse_args()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    print(f"power: seed {chosen.seed}")
    try:
        require_programs(chosen.build)
        begun = time.monotonic()
        tally = run_all(chosen.build, SIZES[chosen.size], chosen.seed)
    except Skip as why:
        print(f"power: skipped: {why}\n0 passed, 0 failed, 1 skipped")
        return SKIPPED
    print(f"{tally} ({time.monotonic() - begun:.0f} s)")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0 if tally.passed else SKIPPED


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("power: interrupted")
