"""One directory, two writers: TensorFlow and Cairn take turns, and agree at every point."""
import glob
import os

import numpy as np
import tensorflow as tf

from command import Case, cairn, cairn_json

VALUE = "v/.ATTRIBUTES/VARIABLE_VALUE"


class Mixed(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)

    def assert_agreement(self, folder, latest, values):
        """Both name the same latest and the same list, and each that is listed has the same values for both."""
        state = tf.train.get_checkpoint_state(folder)
        ours = cairn_json("state", folder)
        self.assertEqual(tf.train.latest_checkpoint(folder), latest)
        self.assertEqual(cairn("latest", folder).decode(), latest + "\n")
        self.assertEqual((ours["latest"], ours["latest_whole"]), (latest, latest))
        listed = list(state.all_model_checkpoint_paths)
        self.assertEqual([entry["prefix"] for entry in ours["checkpoints"]], listed)
        self.assertTrue(all(entry["whole"] for entry in ours["checkpoints"]), ours)
        for prefix in listed:
            reader = tf.compat.v1.train.NewCheckpointReader(prefix)
            for tensor in ours_of(prefix):
                if reader.get_variable_to_dtype_map()[tensor] == tf.int32:
                    self.assertEqual(int(cairn("cat", prefix, tensor)), reader.get_tensor(tensor), (prefix, tensor))
        for tensor, value in values.items():
            self.assertEqual(tf.train.load_variable(folder, tensor), value)
            self.assertEqual(int(cairn("cat", folder, tensor)), value)
        return [prefix.rpartition("-")[2] for prefix in listed]

    def assert_spelt_as_tensorflow_does(self, folder):
        state = tf.train.get_checkpoint_state(folder)
        with open(os.path.join(folder, "checkpoint"), "rb") as file:
            ours = file.read()
        tf.compat.v1.train.update_checkpoint_state(
            folder, state.model_checkpoint_path, list(state.all_model_checkpoint_paths),
            all_model_checkpoint_timestamps=list(state.all_model_checkpoint_timestamps) or None,
            last_preserved_timestamp=state.last_preserved_timestamp or None)
        with open(os.path.join(folder, "checkpoint"), "rb") as file:
            self.assertEqual(ours, file.read())

    def test_a_saver_and_we_take_turns(self):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            v1 = tf.compat.v1.get_variable("v1", initializer=0, use_resource=False)
            v2 = tf.compat.v1.get_variable("v2", initializer=11, use_resource=False)
            session.run(tf.compat.v1.global_variables_initializer())
            saver = tf.compat.v1.train.Saver(max_to_keep=5)
            os.makedirs("saved")

            def by_tensorflow(step):
                session.run(v1.assign(step))
                return saver.save(session, "saved/train2", global_step=step)

            def by_us(step):
                cairn("save", "saved/train2", "--step", str(step), "--from", "saved", f"v1:int32={step}")
                return f"saved/train2-{step}"

            for step in range(5):
                self.assert_agreement("saved", by_tensorflow(step), {"v1": step, "v2": 11})
            for step in range(5, 10):
                listed = self.assert_agreement("saved", by_us(step), {"v1": step, "v2": 11})
                self.assert_spelt_as_tensorflow_does("saved")
            self.assertEqual(listed, ["5", "6", "7", "8", "9"])
            self.assertEqual(len(glob.glob("saved/*.index")), 5, "what TensorFlow saved, we let go of")
            self.assertFalse(glob.glob("saved/*.meta"))

            saver.recover_last_checkpoints(tf.train.get_checkpoint_state("saved").all_model_checkpoint_paths)
            saver.restore(session, tf.train.latest_checkpoint("saved"))
            self.assertEqual(session.run([v1, v2]), [9, 11])
            listed = self.assert_agreement("saved", by_tensorflow(10), {"v1": 10, "v2": 11})
            self.assertEqual(listed, ["6", "7", "8", "9", "10"])
            self.assertTrue(os.path.exists("saved/train2-5.cairn"), "TensorFlow deletes what it knows")
            listed = self.assert_agreement("saved", by_us(11), {"v1": 11, "v2": 11})
            self.assertEqual(listed, ["7", "8", "9", "10", "11"])
            self.assertEqual(glob.glob("saved/train2-5*"), ["saved/train2-5.cairn"], "it goes when it is a day old")
            self.assertEqual(len(glob.glob("saved/*.index")), 5)

    def test_a_manager_and_we_take_turns(self):
        variable = tf.Variable(0)
        checkpoint = tf.train.Checkpoint(v=variable)

        def manager():
            return tf.train.CheckpointManager(checkpoint, "run", max_to_keep=3)

        def by_tensorflow(step):
            variable.assign(step)
            return manager().save(checkpoint_number=step)

        def by_us(step):
            cairn("save", "run/ckpt", "--step", str(step), "--from", "run", "--policy", "manager", "--max-to-keep", "3",
                  f"{VALUE}:int32={step}")
            return f"run/ckpt-{step}"

        writers = [by_tensorflow] * 5 + [by_us] * 5 + [by_tensorflow, by_us, by_tensorflow]
        for step, write in enumerate(writers):
            listed = self.assert_agreement("run", write(step), {VALUE: step})
            self.assertEqual(listed, [str(n) for n in range(max(0, step - 2), step + 1)])
            variable.assign(-1)
            checkpoint.restore(tf.train.latest_checkpoint("run")).assert_consumed()
            self.assertEqual(variable.numpy(), step)
            if write is by_us:
                self.assert_spelt_as_tensorflow_does("run")
        self.assertEqual(len(glob.glob("run/*.index")), 3)

    def test_a_pin_is_ours_alone(self):
        variable = tf.Variable(1)
        checkpoint = tf.train.Checkpoint(v=variable)
        tf.train.CheckpointManager(checkpoint, "run", max_to_keep=1).save()
        cairn("pin", "run/ckpt-1")
        cairn("save", "run/ckpt", "--step", "2", "--from", "run", "--max-to-keep", "1", f"{VALUE}:int32=2")
        checkpoint.restore("run/ckpt-1").expect_partial()
        self.assertEqual(variable.numpy(), 1)

    def test_a_checkpoint_of_ours_is_restored_from_another_directory(self):
        variable = tf.Variable(np.arange(6, dtype=np.float32))
        checkpoint = tf.train.Checkpoint(v=variable)
        written = checkpoint.write(self.path("written", "c"))
        cairn("convert", written, self.path("ours", "c"), "--to", "cairn")
        variable.assign(tf.zeros(6))
        checkpoint.read(self.path("ours", "c")).assert_consumed()
        self.assertEqual(variable.numpy().tolist(), list(range(6)))


def ours_of(prefix):
    return [tensor["name"] for tensor in cairn_json("ls", prefix)["tensors"]]
