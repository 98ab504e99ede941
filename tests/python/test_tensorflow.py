"""cairn_store.tensorflow on checkpoints that TensorFlow wrote, whose values TensorFlow recorded."""
import base64
import glob
import hashlib
import json
import os
import shutil
import threading

import numpy as np

import cairn_store
from cairn_store import tensorflow as tf
from support import GOLDEN, Case

FOLDER = os.path.join(GOLDEN, "tensorflow")


def recorded():
    for file in sorted(glob.glob(os.path.join(FOLDER, "*/*.expected.json"))):
        with open(file) as opened:
            content = json.load(opened)
        if "tensors" in content:
            yield os.path.join(os.path.dirname(file), content["prefix"]), content["tensors"]


class Readers(Case):
    def test_values_are_those_that_tensorflow_recorded(self):
        checked = 0
        for prefix, tensors in recorded():
            reader = tf.load_checkpoint(prefix)
            shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            for name, told in tensors.items():
                with self.subTest(prefix=os.path.relpath(prefix, FOLDER), name=name):
                    self.assertTrue(reader.has_tensor(name))
                    self.assertEqual(shapes[name], told["shape"])
                    value = np.asarray(reader.get_tensor(name))
                    if "strings_b64" in told:
                        self.assertEqual(dtypes[name], object)
                        self.assertEqual(value.reshape(-1).tolist(),
                                         [base64.b64decode(item) for item in told["strings_b64"]])
                    else:
                        self.assertEqual(dtypes[name], value.dtype)
                        self.assertEqual(dtypes[name].name, told["dtype"].removeprefix("q"))
                        self.assertEqual(hashlib.sha256(value.tobytes()).hexdigest(), told["sha256"])
                    checked += 1
        self.assertGreater(checked, 50)

    def test_lists_and_single_variables(self):
        prefix = os.path.join(FOLDER, "shapes/all")
        listed = tf.list_variables(prefix)
        self.assertEqual(listed, sorted(tf.load_checkpoint(prefix).get_variable_to_shape_map().items()))
        name = listed[0][0]
        np.testing.assert_array_equal(tf.load_variable(prefix, name + ":0"), tf.load_variable(prefix, name))
        self.assertIn(name, tf.load_checkpoint(prefix).debug_string())

    def test_a_scalar_is_numpys_scalar_and_an_array_may_be_written(self):
        path = self.saved({"n": np.array(5), "s": np.array(b"x", object), "w": np.zeros(3)})
        self.assertIs(type(tf.load_variable(path, "n")), np.int64)
        self.assertIs(type(tf.load_variable(path, "s")), bytes)
        array = tf.load_variable(path, "w")
        array[0] = 1
        self.assertEqual(tf.load_variable(path, "w")[0], 0)

    def test_what_is_not_there(self):
        with self.assertRaises(ValueError):
            tf.load_checkpoint(self.folder)
        with self.assertRaises(FileNotFoundError):
            tf.load_checkpoint(self.path("none"))
        reader = tf.load_checkpoint(self.saved({"w": np.zeros(3)}))
        self.assertFalse(reader.has_tensor("v"))
        with self.assertRaises(KeyError):
            reader.get_tensor("v")
        self.assertIsNone(tf.latest_checkpoint(self.folder))
        self.assertIsNone(tf.get_checkpoint_state(self.folder))


class Directories(Case):
    def test_the_catalog_of_tensorflow(self):
        shutil.copytree(os.path.join(FOLDER, "saver_walk/saved"), self.path("saved"))
        with open(os.path.join(FOLDER, "saver_walk/state.expected.json")) as file:
            told = json.load(file)
        state = tf.get_checkpoint_state(self.path("saved"))
        self.assertEqual([os.path.relpath(path, self.folder) for path in state.all_model_checkpoint_paths], told["all"])
        self.assertEqual(os.path.relpath(state.model_checkpoint_path, self.folder), told["model_checkpoint_path"])
        self.assertEqual(os.path.relpath(tf.latest_checkpoint(self.path("saved")), self.folder), told["latest"])
        self.assertEqual(tf.list_variables(self.path("saved")), tf.list_variables(self.path("saved/train2-9")))

    def test_manager(self):
        given = {"w": np.zeros(2)}
        manager = tf.CheckpointManager(given, self.path("ckpts"), max_to_keep=2)
        self.assertIsNone(manager.latest_checkpoint)
        paths = []
        for number in range(1, 5):
            given["w"] = np.full(2, number)
            paths.append(manager.save())
        self.assertEqual([os.path.basename(path) for path in paths], ["ckpt-1", "ckpt-2", "ckpt-3", "ckpt-4"])
        self.assertEqual(manager.checkpoints, paths[2:])
        self.assertEqual(manager.latest_checkpoint, paths[3])
        self.assertEqual(tf.load_variable(manager.directory, "w").tolist(), [4, 4])
        self.assertFalse(os.path.exists(paths[1] + ".index"))
        again = tf.CheckpointManager(lambda: given, self.path("ckpts"), max_to_keep=2)
        self.assertEqual(os.path.basename(again.save()), "ckpt-5")
        self.assertEqual(os.path.basename(again.save(checkpoint_number=9)), "ckpt-9")
        self.assertEqual([os.path.basename(path) for path in again.checkpoints], ["ckpt-5", "ckpt-9"])
        with self.assertRaises(ValueError):
            tf.CheckpointManager(given, self.folder, max_to_keep=0)

    def test_iterator(self):
        saver = cairn_store.Saver(self.folder)
        first = saver.save("m", {"w": np.zeros(1)}, step=1).path
        asked = []
        found = []
        for path in tf.checkpoints_iterator(self.folder, timeout=0.05, timeout_fn=lambda: asked.append(1) or len(asked) > 1):
            found.append(path)
            if len(found) == 1:
                saver.save("m", {"w": np.zeros(1)}, step=2)
        self.assertEqual([found[0], os.path.basename(found[1]), len(found), len(asked)], [first, "m-2", 2, 2])
        self.assertEqual(list(tf.checkpoints_iterator(self.path("none"), timeout=0)), [])
        thread = threading.Timer(0.2, saver.save, ("m", {"w": np.zeros(1)}), {"step": 3})
        thread.start()
        waiting = tf.checkpoints_iterator(self.folder, timeout=10)
        self.assertEqual([os.path.basename(next(waiting)), os.path.basename(next(waiting))], ["m-2", "m-3"])
        thread.join()
