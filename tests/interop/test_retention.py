"""Retention: after every save of a random history, the files, the catalog and the grid are TensorFlow's.

TensorFlow's side is its own code: Saver.save and CheckpointManager.save, whole, in a scratch directory. Two things are
stood in for: the clock, and the writing of tensors, in whose place empty files appear under the checkpoint's names.
Ours is a cairn::Saver, by which retention_driver.cc replays the same histories.
"""
import contextlib
import functools
import os
import random
import subprocess
import sys
import tempfile
from unittest import mock

import tensorflow as tf

import command
from command import Case

HISTORIES = 1000
CONTROLS = 200  # of these, for a subject that is wrong
SEED = int.from_bytes(os.urandom(4), "little")
EPOCH_S = 1_700_000_000
SCRATCH = "/dev/shm" if os.path.isdir("/dev/shm") else None  # many small files, a few at a time
SUFFIXES = (".index", ".data-00000-of-00001")

SAVER_MODULE = sys.modules[tf.compat.v1.train.Saver.__module__]
MANAGER_MODULE = sys.modules[tf.train.CheckpointManager.__module__]
SessionInterface = SAVER_MODULE.session.SessionInterface


class Clock:
    """Stands in for the module `time`."""

    now_s = 0.0

    def time(self):
        return self.now_s


CLOCK = Clock()


def touch(prefix):
    for suffix in SUFFIXES:
        with open(prefix + suffix, "wb"):
            pass


class EmptySession(SessionInterface):
    """Where the operations that save would run."""

    def run(self, fetches, feed_dict=None, options=None, run_metadata=None):
        (prefix,) = feed_dict.values()
        touch(prefix)
        return prefix


class EmptyCheckpoint:
    """What a Manager asks of its tf.train.Checkpoint."""

    save_counter = mock.Mock()

    def _write(self, prefix, options):
        touch(prefix)
        for callback in options.experimental_write_callbacks:
            callback(prefix)
        return prefix


class Saver:
    """tf.compat.v1.train.Saver.

    One that begins anew is told what the one before it knew, as users are advised. It is told the grid too: ours goes on
    with the one that it finds in the directory, unless it is one of other hours.
    """

    def __init__(self, folder):
        self.folder, self.hours, self.saver = folder, 0, None

    def open(self, max_to_keep, hours):
        before, self.saver = self.saver, tf.compat.v1.train.Saver(
            saver_def=SAVER_MODULE.saver_pb2.SaverDef(
                filename_tensor_name="name", save_tensor_name="save", restore_op_name="restore",
                version=SAVER_MODULE.saver_pb2.SaverDef.V2, max_to_keep=max_to_keep,
                keep_checkpoint_every_n_hours=hours or 10_000),  # its default, which never comes
            save_relative_paths=True)
        if before:
            self.saver.set_last_checkpoints_with_time(before._last_checkpoints)
        if before and hours == self.hours:
            self.saver._next_checkpoint_time = before._next_checkpoint_time
        self.hours = hours

    def save(self, step):
        self.saver.save(EmptySession(), os.path.join(self.folder, "m"), global_step=step, write_meta_graph=False)

    def listed(self):
        return self.saver.last_checkpoints

    def grid(self):
        return self.saver._next_checkpoint_time if self.hours else None


class Manager:
    """tf.train.CheckpointManager, which reads at its beginning what the one before it wrote."""

    def __init__(self, folder):
        self.folder = folder

    def open(self, max_to_keep, hours):
        self.manager = tf.train.CheckpointManager(
            EmptyCheckpoint(), self.folder, max_to_keep or None, hours or None, checkpoint_name="m")

    def save(self, step):
        self.manager.save(checkpoint_number=step)

    def listed(self):
        return self.manager.checkpoints

    def grid(self):
        return self.manager._last_preserved_timestamp


ALGORITHMS = {"saver": Saver, "manager": Manager}


def read(folder):
    """Whose files are there, and the catalog's text."""
    names = set(os.listdir(folder)) - {"checkpoint"}
    prefixes = sorted({name.partition(".")[0] for name in names})
    assert names == {prefix + suffix for prefix in prefixes for suffix in SUFFIXES}, names
    with open(os.path.join(folder, "checkpoint"), encoding="utf-8") as file:
        return prefixes, file.read()


def told(theirs):
    """What retention_driver tells, of TensorFlow's directory."""
    files, catalog = read(theirs.folder)
    lines = ["told", " ".join(["listed", *map(os.path.basename, theirs.listed())]), " ".join(["files", *files])]
    if theirs.grid() is not None:
        lines.append(f"grid {theirs.grid().hex()}")
    return "\n".join(lines + ["| " + line for line in catalog.splitlines()]) + "\n"


def replayed(algorithm, history):
    """What TensorFlow does with one history, save by save."""
    graph = tf.Graph().as_default() if algorithm == "saver" else contextlib.nullcontext()
    with graph, tempfile.TemporaryDirectory(prefix="cairn-interop-", dir=SCRATCH) as folder:
        theirs, answer = ALGORITHMS[algorithm](folder), []
        for verb, *arguments, CLOCK.now_s in history:
            getattr(theirs, verb)(*arguments)
            if verb == "save":
                answer.append(told(theirs))
        return answer


def random_history(rng, algorithm):
    """("open", max_to_keep, hours, time) and ("save", step, time), beginning with an open.

    Regular saves meet the grid exactly; irregular ones try the rounding. A clock that goes back is the Saver's only:
    the Manager's algorithm heeds it at its beginning, and ours begins with each save.
    """
    def rule():
        return rng.randint(algorithm == "saver", 6), hours

    clock_goes_back, regular = algorithm == "saver" and rng.random() < 0.2, rng.random() < 0.5
    hours = rng.choice((0, 0.25, 0.5, 1, 1, 2, 0.1, rng.uniform(0, 3)))
    now_s = float(EPOCH_S) if regular else EPOCH_S + rng.random() * 1000
    history, steps = [("open", *rule(), now_s)], []
    for step in range(rng.randint(4, 20)):
        now_s += 900 * rng.choice((1, 1, 1, 2)) if regular else rng.uniform(60, 1800)
        if rng.random() < 0.05:
            now_s += rng.choice((5, 30)) * 3600
        if clock_goes_back and rng.random() < 0.2:
            now_s -= rng.choice((900, 3600))
        if steps and rng.random() < 0.06:
            hours = rng.choice((hours, hours, hours / 2))
            history.append(("open", *rule(), now_s - 30))
        steps.append(rng.choice(steps) if steps and rng.random() < 0.08 else step)
        history.append(("save", steps[-1], now_s))
    return history


@functools.cache
def histories(algorithm):
    print(f"seed {SEED}", end=" ", flush=True)
    rng = random.Random(f"{algorithm} {SEED}")
    return [random_history(rng, algorithm) for _ in range(HISTORIES)]


@functools.cache
def tensorflow_answers(algorithm):
    """For each history: what is told after each save."""
    return [replayed(algorithm, history) for history in histories(algorithm)]


def cairn_answers(algorithm, histories, hours_times=1.0, after_save=()):
    """The same, of retention_driver."""
    lines = []
    for history in histories:
        lines.append("history")
        for verb, number, *hours, now_s in history:
            if verb == "open":
                lines.append(f"open {algorithm} {number} {hours[0] * hours_times!r} {now_s!r}")
            else:
                lines += [f"save {number} {now_s!r}", *after_save, "tell"]
    with tempfile.TemporaryDirectory(prefix="cairn-interop-", dir=SCRATCH) as scratch:
        done = subprocess.run([command.RETENTION_DRIVER, scratch], input="\n".join(lines), stdout=subprocess.PIPE,
                              text=True, check=True)
    tales = iter(["told" + tale for tale in done.stdout.split("told")[1:]])
    return [[next(tales) for verb, *_ in history if verb == "save"] for history in histories]


class Retention(Case):
    def setUp(self):
        super().setUp()
        for module in (SAVER_MODULE, MANAGER_MODULE):
            patch = mock.patch.object(module, "time", CLOCK)
            patch.start()
            self.addCleanup(patch.stop)

    def assert_same(self, algorithm):
        everything = histories(algorithm)
        for history, *answers in zip(everything, tensorflow_answers(algorithm), cairn_answers(algorithm, everything)):
            for number, (theirs, ours) in enumerate(zip(*answers, strict=True)):
                self.assertEqual(ours, theirs, f"save {number} of {history}, seed {SEED}")

    def assert_noticed(self, algorithm, **wrong):
        answers = zip(tensorflow_answers(algorithm), cairn_answers(algorithm, histories(algorithm)[:CONTROLS], **wrong))
        others = sum(files_of(theirs[-1]) != files_of(ours[-1]) for theirs, ours in answers)
        self.assertGreater(others, 5, f"{wrong}, seed {SEED}")
        print(f"other files in {others} of {CONTROLS} histories", end=" ", flush=True)

    def test_a_saver_leaves_what_tensorflows_leaves(self):
        self.assert_same("saver")

    def test_a_manager_leaves_what_tensorflows_leaves(self):
        self.assert_same("manager")

    # Hours that are too short or too long by a hair are >= in place of > on the Saver's grid, and > in place of >= on
    # the Manager's.
    def test_a_saver_that_preserves_at_the_very_point_of_its_grid_is_noticed(self):
        self.assert_noticed("saver", hours_times=1 - 2**-23)

    def test_a_manager_that_does_not_preserve_at_just_the_hours_is_noticed(self):
        self.assert_noticed("manager", hours_times=1 + 2**-23)

    def test_a_saver_that_lets_all_go_that_are_too_many_is_noticed(self):
        self.assert_noticed("saver", after_save=["prune"])

    def test_max_to_keep_0_deletes_nothing_and_lists_everything_where_tensorflows_saver_lists_the_newest(self):
        history = [("open", 0, 1.0, 0.0)] + [("save", step, step * 3600.0) for step in range(1, 6)]
        theirs = replayed("saver", history)[-1]
        ours = cairn_answers("saver", [history])[0][-1]
        self.assertEqual(files_of(ours), files_of(theirs))
        self.assertEqual(files_of(ours), "files m-1 m-2 m-3 m-4 m-5")
        self.assertEqual((theirs.count("| all_"), ours.count("| all_")), (1, 5))


def files_of(tale):
    return tale.splitlines()[2]
