"""Opening, listing, errors, saving, restoring, converting, directories."""
import errno
import os
import signal
import threading
import time

import ml_dtypes
import numpy as np

import cairn_store
from support import GOLDEN, Case, every_dtype


class Mapping(Case):
    def test_is_a_mapping(self):
        given = {"b": np.arange(3), "a": np.zeros((2, 2)), "ü": np.array(1)}
        path = self.saved(given, "m-7", metadata={"k": "v"}, safetensors_metadata={"format": "np"})
        opened = cairn_store.open(path)
        self.assertEqual(list(opened), ["a", "b", "ü"])
        self.assertEqual(list(opened.keys()), ["a", "b", "ü"])
        self.assertEqual([(name, tensor.shape) for name, tensor in opened.items()],
                         [("a", (2, 2)), ("b", (3,)), ("ü", ())])
        self.assertEqual([tensor.name for tensor in opened.values()], [tensor.name for tensor in opened.tensors()])
        self.assertEqual((len(opened), "a" in opened, "z" in opened, 1 in opened), (3, True, False, False))
        self.assertIsNone(opened.get("z"))
        self.assertEqual((opened.format, opened.path, opened.step), ("cairn", path, 7))
        self.assertEqual((opened.metadata, opened.safetensors_metadata), ({"k": "v"}, {"format": "np"}))
        self.assertEqual(opened.warnings, [])
        self.assertEqual(opened["b"].dtype, "int64")
        self.assertEqual(repr(opened["b"]), "<cairn_store.Tensor 'b' int64 [3]>")
        self.assertEqual(opened["b"].numpy().tolist(), opened[b"b"].numpy().tolist())

    def test_names_that_are_not_utf8(self):
        name = b"w\xff".decode("utf-8", "surrogateescape")
        opened = cairn_store.open(self.saved({name: np.arange(2)}))
        self.assertEqual(list(opened), [name])
        self.assertEqual(opened[name].numpy().tolist(), [0, 1])
        self.assertEqual(opened[b"w\xff"].name, name)

    def test_paths(self):
        path = self.saved({"a": np.arange(2)}, "ünï-1")
        import pathlib
        for given in (path, os.fsencode(path), pathlib.Path(path), path + ".index", path + ".data-00000-of-00001"):
            self.assertEqual(list(cairn_store.open(given)), ["a"])

    def test_expected_tensors(self):
        path = self.saved({"a": np.zeros((2, 3), np.float32)})
        cairn_store.open(path, expected={"a": ("float32", (2, 3))})
        for expected in ({"a": ("float32", (3, 2))}, {"b": ("float32", (2, 3))}, {"a": ("float64", (2, 3))}):
            with self.assertRaises(cairn_store.InvalidError):
                cairn_store.open(path, expected=expected)

    def test_many_formats(self):
        for name in ("gguf/types.gguf", "onnx/raw.onnx", "flat/dtypes.ptd", "tensorflow/v1/old.ckpt-3",
                     "tensorflow/sharded/shard-42", "tensorflow/partitioned/part"):
            with self.subTest(name):
                opened = cairn_store.open(os.path.join(GOLDEN, name))
                for tensor in opened.values():
                    array = tensor.numpy()
                    if tensor.numpy_dtype is not None:
                        self.assertEqual((array.dtype, array.shape), (tensor.numpy_dtype, tensor.shape))


class Errors(Case):
    def test_codes_and_classes(self):
        path = self.saved({"weight": np.arange(2000)})
        cases = [
            (lambda: cairn_store.open(self.path("none-1")), "NotFound", FileNotFoundError),
            (lambda: cairn_store.open(path)["weigth"], "NotFound", KeyError),
            (lambda: cairn_store.save(path, {}, replace=False), "Exists", FileExistsError),
            (lambda: cairn_store.open(__file__), "Unsupported", cairn_store.UnsupportedError),
            (lambda: cairn_store.save(path, {"a": np.zeros(2), b"a": np.zeros(2)}), "Invalid", ValueError),
            (lambda: cairn_store.save("/proc/x/m", {}), "NotFound", OSError),
        ]
        for call, code, kind in cases:
            with self.subTest(code=code, kind=kind.__name__):
                with self.assertRaises(cairn_store.CairnError) as caught:
                    call()
                self.assertIsInstance(caught.exception, kind)
                self.assertEqual(caught.exception.code, code)
                self.assertNotIn("\n", str(caught.exception))
        with self.assertRaisesRegex(KeyError, 'no tensor "weigth".*"weight"'):
            cairn_store.open(path)["weigth"]

    def test_system_errors_have_their_number(self):
        with self.assertRaises(OSError) as caught:
            cairn_store.open(self.path("x" * 300))
        self.assertEqual((caught.exception.errno, caught.exception.os_errno), (errno.ENAMETOOLONG,) * 2)

    def test_damage(self):
        path = self.saved({"a": np.arange(1000), "b": np.arange(1000)})
        place = cairn_store.open(path)["a"].offset
        with open(path + ".data-00000-of-00001", "r+b") as file:
            file.seek(place + 10)
            file.write(b"\xff")
        opened = cairn_store.open(path)
        with self.assertRaises(cairn_store.CorruptError) as caught:
            opened["a"].numpy()
        self.assertEqual(caught.exception.code, "Corrupt")
        self.assertEqual(opened["b"].numpy()[999], 999)
        found = opened.verify()
        self.assertFalse(found)
        self.assertEqual([damage.tensor for damage in found.damage], ["a"])
        for call in (lambda: cairn_store.open(path, verify="full"), lambda: cairn_store.restore(path),
                     lambda: np.from_dlpack(opened["a"]), lambda: opened["a"][0]):
            with self.assertRaises(cairn_store.CorruptError):
                call()

    def test_words_that_are_wrong(self):
        path = self.saved({"a": np.arange(2)})
        for words in ({"access": "mine"}, {"verify": "maybe"}):
            with self.assertRaises(ValueError):
                cairn_store.open(path, **words)
        with self.assertRaises(ValueError):
            cairn_store.convert(path, self.path("o"), "gguf")
        with self.assertRaises(TypeError):
            cairn_store.save(path, {"a": np.zeros(2, "M8[s]")})
        with self.assertRaises(TypeError):
            cairn_store.save(path, {"a": np.array([1, "x"], object)})
        with self.assertRaises(TypeError):
            cairn_store.open(path)[5]


class Progress(Case):
    def test_is_told_and_may_end_the_call(self):
        path = self.saved({"w": np.ones(96 << 20, np.uint8)})
        seen = []
        cairn_store.open(path).verify(progress=lambda done, total: seen.append((done, total)))
        self.assertEqual(seen[-1][0], seen[-1][1])

        def stop(done, total):
            raise RuntimeError("enough")

        with self.assertRaisesRegex(RuntimeError, "enough"):
            cairn_store.open(path).verify(progress=stop)
        with self.assertRaisesRegex(RuntimeError, "enough"):
            cairn_store.save(self.path("n-1"), {"w": np.ones(96 << 20, np.uint8)}, progress=stop)
        with self.assertRaises(cairn_store.NotFoundError):
            cairn_store.open(self.path("n-1"))

    def test_ctrl_c_ends_a_wait(self):
        watcher = cairn_store.Watcher(self.folder)
        # A shell has the jobs in its background ignore it.
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        start = time.monotonic()
        with self.assertRaises(KeyboardInterrupt):
            watcher.wait(20)
        self.assertLess(time.monotonic() - start, 5)


class Saving(Case):
    def test_what_is_given_comes_back(self):
        given = {"big": np.arange(4, dtype=">i4"), "t": np.arange(6).reshape(2, 3).T, "list": [[1.0, 2.0]], "n": 3,
                 "bf": np.ones((2, 2), ml_dtypes.bfloat16)}
        opened = cairn_store.open(self.saved(given))
        for name, value in given.items():
            np.testing.assert_array_equal(opened[name].numpy(), np.asarray(value))

    def test_tensors_of_a_checkpoint_are_saved_as_they_are(self):
        source = cairn_store.open(os.path.join(GOLDEN, "onnx/raw.onnx"))
        again = cairn_store.open(self.saved(source))
        self.assertEqual(list(again), list(source))
        for name, tensor in source.items():
            self.assertEqual((again[name].dtype, again[name].shape), (tensor.dtype, tensor.shape), name)
            if tensor.dtype != "string":
                self.assertEqual(again[name].tobytes(), tensor.tobytes(), name)

    def test_restore(self):
        given = every_dtype()
        path = self.saved(given)
        for method in (None, "map", "populate", "read"):
            seen = []
            restored = cairn_store.restore(path, method=method, progress=lambda *told: seen.append(told))
            self.assertEqual(restored.method, method or restored.method)
            self.assertTrue(restored.reason and restored.file_system and restored.payload_bytes)
            for name, array in given.items():
                self.assertSame(restored.checkpoint[name].numpy(), array)

    def test_convert_and_import(self):
        path = self.saved({"w": np.linspace(0, 1, 8, dtype=np.float32), "v": np.arange(3)})
        made = cairn_store.convert(path, self.path("o.safetensors"), "safetensors", casts={"float32": "bfloat16"})
        opened = cairn_store.open(made.path)
        self.assertEqual((opened.format, opened["w"].dtype, made.payload_bytes_copied > 0),
                         ("safetensors", "bfloat16", True))
        self.assertTrue(cairn_store.open(made.path).verify().unchecked_bytes)
        told = cairn_store.import_index(made.path)
        self.assertTrue(os.path.exists(made.path + ".cairn"), told)
        self.assertEqual(cairn_store.open(made.path).verify().unchecked_bytes, 0)
        with self.assertRaises(cairn_store.ExistsError):
            cairn_store.convert(path, self.path("o.safetensors"), "safetensors")
        some = cairn_store.convert(path, self.path("some"), tensors=["v"])
        self.assertEqual(list(cairn_store.open(some.path)), ["v"])
        self.assertTrue(cairn_store.export_index(path, "safetensors").path.endswith(".safetensors"))


class Directories(Case):
    def test_saver_and_retention(self):
        saver = cairn_store.Saver(self.path("runs"), [cairn_store.newest(2), cairn_store.best_by("loss", 1)])
        for step, loss in ((1, 0.1), (2, 0.5), (3, 0.4), (4, 0.3)):
            done = saver.save("m", {"w": np.full(3, step)}, step=step, metrics={"loss": loss})
        self.assertEqual([os.path.basename(path) for path in done.kept], ["m-1", "m-3", "m-4"])
        self.assertEqual([os.path.basename(path) for path in done.deleted], ["m-2"])
        self.assertEqual(saver.checkpoints(), done.kept)
        self.assertEqual(cairn_store.latest_checkpoint(self.path("runs")), done.path)
        self.assertEqual(cairn_store.open(self.path("runs"))["w"].numpy().tolist(), [4, 4, 4])
        saver.pin(done.kept[1])
        self.assertEqual([one.kept for one in saver.prune(dry_run=True)], [True] * 3)
        self.assertIsNone(cairn_store.latest_checkpoint(self.folder))

    def test_saving_in_the_background(self):
        saver = cairn_store.Saver(self.path("runs"))
        array = np.zeros(1 << 20)
        pending = saver.save_async("m", {"w": array}, step=1)
        array[:] = 1  # it is copied already
        done = pending.wait()
        self.assertTrue(pending.done())
        self.assertEqual(float(cairn_store.open(done.path)["w"].numpy().sum()), 0)

    def test_watcher(self):
        saver = cairn_store.Saver(self.folder)
        first = saver.save("m", {"w": np.zeros(1)}, step=1).path
        watcher = cairn_store.Watcher(self.folder, timeout=0)
        self.assertEqual(list(watcher), [first])
        cursor = watcher.cursor
        thread = threading.Thread(target=lambda: saver.save("m", {"w": np.zeros(1)}, step=2))
        thread.start()
        later = cairn_store.Watcher(self.folder, timeout=10, cursor=cursor)
        self.assertEqual(os.path.basename(next(later)), "m-2")
        thread.join()
