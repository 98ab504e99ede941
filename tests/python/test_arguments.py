"""Arguments that are wrong, and calls at a wrong moment: the exceptions that answer them. The fuzz run found each of these."""
import math
import os
import threading
import time

import numpy as np

import cairn_store
import cairn_store.safetensors.numpy as safetensors_numpy
import cairn_store.tensorflow
from support import GOLDEN, Case, address


class Numbers(Case):
    def test_of_another_type_or_too_large(self):
        path = self.saved({"w": np.zeros(3)})
        runs = self.path("runs")
        saver = cairn_store.Saver(runs)
        for kind, words, call in (
                (TypeError, "threads must be an integer", lambda: cairn_store.open(path, threads="x")),
                (ValueError, "threads must be .* too small or too large", lambda: cairn_store.open(path, threads=-1)),
                (TypeError, "follow_links must be True or False", lambda: cairn_store.restore(path, follow_links=2)),
                (TypeError, "step must be an integer", lambda: self.saved({}, step=1.5)),
                (ValueError, "step must be", lambda: self.saved({}, step=2**70)),
                (TypeError, "replace must be", lambda: self.saved({}, replace=None)),
                (TypeError, "lock_wait must be a number", lambda: self.saved({}, lock_wait="x")),
                (ValueError, "max_shard_bytes must be", lambda: cairn_store.convert(path, self.path("o"), max_shard_bytes=-1)),
                (ValueError, "a retention rule must be", lambda: cairn_store.Saver(runs, [cairn_store.newest(-1)])),
                (TypeError, "hours must be", lambda: cairn_store.Saver(runs, [cairn_store.every_hours("x")])),
                (TypeError, "a metric must be", lambda: saver.save("m", {}, metrics={"loss": "x"})),
                (TypeError, "a shape's size must be", lambda: cairn_store.open(path, expected={"w": ("float64", ("x",))})),
                (TypeError, "poll must be a number", lambda: cairn_store.Watcher(runs, poll="x")),
                (ValueError, "there is no dtype \udcff", lambda: cairn_store.open(path, expected={"w": ("\udcff", (3,))})),
        ):
            with self.subTest(words), self.assertRaisesRegex(kind, words):
                call()
        self.assertEqual(cairn_store.latest_checkpoint(runs), None)

    def test_a_wait_may_be_infinite_and_is_a_number(self):
        with self.assertRaisesRegex(ValueError, "lock_wait must be a number of seconds, not nan"):
            self.saved({}, lock_wait=math.nan)
        with self.assertRaisesRegex(ValueError, "not nan"):
            cairn_store.Saver(self.folder, lock_wait=math.nan)
        with self.assertRaisesRegex(ValueError, "a day at most"):
            cairn_store.Watcher(self.folder, poll=math.inf)
        self.saved({}, lock_wait=-math.inf)
        saver = cairn_store.Saver(self.path("runs"), lock_wait=math.inf)
        other = cairn_store.Saver(self.path("runs"))
        pending = other.save_async("a", {"w": np.zeros(48 << 20, np.uint8)}, step=1)
        self.assertEqual(os.path.basename(saver.save("b", {"w": np.zeros(3)}, step=2).path), "b-2")
        pending.wait()

    def test_a_directory_with_a_nul_byte(self):
        for call in (cairn_store.Saver, cairn_store.Watcher, cairn_store.latest_checkpoint,
                     cairn_store.tensorflow.get_checkpoint_state):
            with self.assertRaisesRegex(cairn_store.InvalidError, "NUL"):
                call(self.path("a\0b"))
        self.assertEqual(os.listdir(self.folder), [])


class Reading(Case):
    def test_a_number_is_no_bytes(self):
        for number in (5, 2**62):
            with self.assertRaises(TypeError):
                safetensors_numpy.load(number)

    def test_strings_are_read_into_an_array(self):
        given = np.array([[b"a", b"b"], [b"c", b"d"]], object)
        tensor = cairn_store.open(self.saved({"s": given}))["s"]
        out = np.empty((2, 2), object)
        self.assertIs(tensor.read(out=out), out)
        self.assertEqual(out.tolist(), given.tolist())
        part = np.empty(2, object)
        self.assertIs(tensor.read((slice(None), 1), part), part)
        self.assertEqual(part.tolist(), [b"b", b"d"])
        with self.assertRaises(ValueError):
            tensor.read(out=np.empty((2, 2), "S1"))

    def test_an_array_without_a_copy_is_the_file_or_refused(self):
        opened = cairn_store.open(self.saved({"w": np.zeros(3), "s": np.array([b"a"], object)}))
        parts = cairn_store.open(os.path.join(GOLDEN, "tensorflow/partitioned/part"))["cols"]
        self.assertEqual(address(opened["w"].__array__(copy=False)), address(opened["w"].numpy()))
        for tensor in (opened["s"], parts):
            self.assertSame(tensor.__array__(), tensor.numpy())
            with self.assertRaisesRegex(ValueError, "needs a copy"):
                tensor.__array__(copy=False)

    def test_into_what_is_no_array_or_cannot_be_written(self):
        opened = cairn_store.open(self.saved({"w": np.zeros((2, 3)), "s": np.array([b"a"], object)}))
        fixed = np.zeros((2, 3))
        fixed.flags.writeable = False
        for name, out in (("w", [1]), ("w", fixed), ("w", fixed[:, ::2]), ("s", [1])):
            with self.subTest(name=name, out=type(out)), self.assertRaisesRegex(ValueError, "out must be"):
                opened[name].read(out=out)

    def test_what_dlpack_cannot_take_is_a_buffer_error(self):
        tensor = cairn_store.open(self.saved({"w\udcff": np.zeros(3), "s\udcff": np.array([b"x"], object)}))
        with self.assertRaisesRegex(BufferError, "w\udcff: is read-only"):
            tensor["w\udcff"].__dlpack__()
        with self.assertRaisesRegex(BufferError, "DLPack has no type"):
            tensor["s\udcff"].__dlpack__(max_version=(1, 0))
        parts = cairn_store.open(os.path.join(GOLDEN, "tensorflow/partitioned/part"))["cols"]
        with self.assertRaisesRegex(BufferError, "copy=True"):
            np.from_dlpack(parts)
        self.assertSame(np.from_dlpack(parts, copy=True), parts.numpy())


class OneCall(Case):
    def test_a_second_call_of_a_saver_is_refused(self):
        saver = cairn_store.Saver(self.path("runs"))
        inside, seen = threading.Event(), []

        def progress(done, total):
            for call in (saver.checkpoints, saver.prune, lambda: saver.save("n", {}, step=1),
                         lambda: saver.save_async("n", {}, step=1), lambda: saver.pin(self.path("runs/m-1"))):
                with self.assertRaisesRegex(cairn_store.BusyError, "one call at a time"):
                    call()
            inside.set()
            seen.append(done)

        thread = threading.Thread(target=saver.save, args=("m", {"w": np.zeros(8 << 20, np.uint8)}),
                                  kwargs={"step": 1, "progress": progress})
        thread.start()
        thread.join()
        self.assertTrue(inside.is_set() and seen)
        self.assertEqual([os.path.basename(path) for path in saver.checkpoints()], ["m-1"])

    def test_a_second_wait_of_a_watcher_is_refused_and_its_cursor_can_be_asked(self):
        saver = cairn_store.Saver(self.folder)
        watcher = cairn_store.Watcher(self.folder, timeout=10)
        refused, found = [], []

        def wait():
            while not found:
                try:
                    found.append(watcher.wait(10))
                except cairn_store.BusyError:
                    pass  # the other thread was in between

        thread = threading.Thread(target=wait)
        thread.start()
        end = time.monotonic() + 5
        while not refused and time.monotonic() < end:
            self.assertIsInstance(watcher.cursor, str)
            try:
                watcher.wait(0)
            except cairn_store.BusyError:
                refused.append(1)
        saver.save("m", {"w": np.zeros(2)}, step=1)
        thread.join()
        self.assertTrue(refused)
        self.assertEqual([os.path.basename(path) for path in found], ["m-1"])
        self.assertNotEqual(watcher.cursor, "")
