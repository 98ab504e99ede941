"""The catalog: the same answers as TensorFlow, and the same bytes for the same input."""
import os
import re

import tensorflow as tf

import tensors
from command import Case, Refused, cairn, cairn_json


class Catalogs(Case):
    def setUp(self):
        super().setUp()
        self.before = os.getcwd()
        self.addCleanup(os.chdir, self.before)
        os.chdir(self.folder)

    def checkpoints(self, folder, *names):
        os.makedirs(folder, exist_ok=True)
        return [tensors.save(os.path.join(folder, name), {"x": tf.constant(1)}) for name in names]

    def text(self, folder):
        with open(os.path.join(folder, "checkpoint"), "rb") as file:
            return file.read()

    def assert_same_answers(self, folder):
        state = tf.train.get_checkpoint_state(folder)
        ours = cairn_json("state", folder)
        self.assertEqual(ours["latest"], state.model_checkpoint_path)
        self.assertEqual([c["prefix"] for c in ours["checkpoints"]], list(state.all_model_checkpoint_paths))
        latest = tf.train.latest_checkpoint(folder)
        if latest is None:
            with self.assertRaises(Refused) as refused:
                cairn("latest", folder)
            self.assertEqual((refused.exception.status, refused.exception.output), (1, b""))
        else:
            self.assertEqual(cairn("latest", folder).decode(), latest + "\n")

    def test_a_catalog_of_a_saver(self):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tf.compat.v1.get_variable("v1", initializer=10, use_resource=False)
            session.run(tf.compat.v1.global_variables_initializer())
            saver = tf.compat.v1.train.Saver()
            os.makedirs("saved")
            for folder in ("saved", self.path("absolute", "x")):
                for step in range(7):
                    saver.save(session, os.path.join(folder, "train2"), global_step=step, write_meta_graph=False)
        self.assert_same_answers("saved")
        self.assert_same_answers(self.path("absolute", "x"))

    def test_a_catalog_of_a_manager(self):
        manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=tf.Variable(1)), "run", max_to_keep=3)
        for _ in range(5):
            manager.save()
        self.assert_same_answers("run")
        self.assert_same_answers(self.path("run"))

    def test_a_latest_whose_files_are_gone(self):
        self.checkpoints("saved", "p-1")
        tf.compat.v1.train.update_checkpoint_state("saved", "saved/p-2", ["saved/p-1"])
        self.assert_same_answers("saved")
        state = cairn_json("state", "saved")
        self.assertEqual(state["latest_whole"], "saved/p-1")
        self.assertEqual([c["whole"] for c in state["checkpoints"]], [True, False])

    def test_no_catalog(self):
        os.makedirs("saved")
        with self.assertRaises(Refused) as refused:
            cairn("latest", "saved")
        self.assertEqual((refused.exception.status, tf.train.latest_checkpoint("saved")), (1, None))

    def test_we_write_what_tensorflow_writes(self):
        for folder in ("saved", self.path("absolute", "saved")):
            with self.subTest(folder=folder):
                paths = self.checkpoints(folder, "p-1", "p-2", "p-3")
                tf.compat.v1.train.update_checkpoint_state(folder, paths[1], paths[:2])
                cairn("set-latest", folder, paths[2])
                ours = self.text(folder)
                tf.compat.v1.train.update_checkpoint_state(folder, paths[2], list(paths))
                self.assertEqual(ours, self.text(folder))
                self.assert_same_answers(folder)

    def test_timestamps_are_spelt_as_tensorflow_spells_them(self):
        (path,) = self.checkpoints("saved", "p-1")
        cairn("set-latest", "saved", path)
        ours = self.text("saved")
        times = [float(t) for t in re.findall(rb"timestamps: (.*)", ours)]
        tf.compat.v1.train.update_checkpoint_state(
            "saved", path, [path], all_model_checkpoint_timestamps=times or None)
        self.assertEqual(ours, self.text("saved"))

    def test_names_that_need_escapes(self):
        # Control characters need them too, but no shard may be named so.
        for number, name in enumerate(('a"b-1', "a'b-1", "a\\b-1", "변수-1", "é-1")):
            with self.subTest(name=name):
                folder = self.path(str(number))
                paths = self.checkpoints(folder, "first", name)
                tf.compat.v1.train.update_checkpoint_state(folder, paths[0], paths[:1])
                cairn("set-latest", folder, paths[1])
                ours = self.text(folder)
                tf.compat.v1.train.update_checkpoint_state(folder, paths[1], list(paths))
                self.assertEqual(ours, self.text(folder))
