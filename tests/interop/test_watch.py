"""A Watcher beside TensorFlow: every checkpoint that it publishes, and checkpoints_iterator's answers."""
import json
import os
import random
import subprocess

import tensorflow as tf

import command
from command import Case, Refused, cairn


class Watching(Case):
    def setUp(self):
        super().setUp()
        self.before = os.getcwd()
        self.addCleanup(os.chdir, self.before)
        os.chdir(self.folder)
        self.variable = tf.Variable(0)

    def manager(self, max_to_keep):
        return tf.train.CheckpointManager(tf.train.Checkpoint(v=self.variable), "run", max_to_keep=max_to_keep)

    def watch(self):
        """A Watcher in the background. Gives the next line that it prints."""
        process = subprocess.Popen([command.CAIRN, "watch", "run", "--json", "--timeout", "60"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return lambda: json.loads(process.stdout.readline())

    def test_each_save_is_given_as_it_is_published(self):
        line = self.watch()
        manager = self.manager(max_to_keep=2)
        for step in range(1, 8):
            self.variable.assign(step)
            prefix = manager.save()
            self.assertEqual(line(), {"prefix": prefix, "skipped": []})

    def test_saves_that_nobody_waits_for_come_in_order_and_none_of_those_kept_is_missing(self):
        line = self.watch()
        manager = self.manager(max_to_keep=2)
        saved = []
        for step in range(30):
            self.variable.assign(step)
            saved.append(manager.save())
        given = []
        while saved[-1] not in given:
            given.append(line()["prefix"])
        self.assertEqual(given, [prefix for prefix in saved if prefix in given])
        self.assertEqual(given[-2:], saved[-2:])

    def test_a_prefix_that_is_saved_again_is_given_again(self):
        line = self.watch()
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            value = tf.compat.v1.placeholder(tf.int32, [])
            variable = tf.compat.v1.get_variable("v", initializer=0, use_resource=False)
            assign = variable.assign(value)
            session.run(tf.compat.v1.global_variables_initializer())
            saver = tf.compat.v1.train.Saver()
            os.mkdir("run")
            for number in range(4):
                session.run(assign, {value: number})
                saver.save(session, "run/model")
                self.assertEqual(line(), {"prefix": "run/model", "skipped": []})


class Iterating(Case):
    """The same sequence of catalogs for checkpoints_iterator and for a Watcher of the latest only."""

    def setUp(self):
        super().setUp()
        self.before = os.getcwd()
        self.addCleanup(os.chdir, self.before)
        os.chdir(self.folder)
        self.checkpoint = tf.train.Checkpoint(v=tf.Variable(0))

    def steps(self, rng):
        """Changes of the directory `run`, such as savers, people and failing disks make."""
        def save(name):
            self.checkpoint.write(f"run/{name}")

        def publish(*names, root="run"):
            tf.compat.v1.train.update_checkpoint_state(
                "run", os.path.join(root, names[-1]), [os.path.join(root, name) for name in names])

        def save_and_publish(*names):
            save(names[-1])
            publish(*names)

        def remove(name):
            for suffix in (".index", ".data-00000-of-00001"):
                if os.path.exists(f"run/{name}{suffix}"):
                    os.remove(f"run/{name}{suffix}")

        def at_once():  # the one in the middle is skipped
            save_and_publish("m-1", "m-4")
            save_and_publish("m-4", "m-5")

        fixed = [
            lambda: None,
            lambda: os.mkdir("run"),
            lambda: save("m-1"),
            lambda: publish("m-1"),
            lambda: save_and_publish("m-1", "m-2"),
            lambda: save_and_publish("m-1", "m-2"),
            lambda: publish("m-2", "m-1"),
            lambda: publish("m-1", "m-3"),
            lambda: save("m-3"),
            at_once,
            lambda: remove("m-5"),
            lambda: publish("m-5", "m-4"),
            lambda: os.truncate("run/m-4.data-00000-of-00001", 0),
            lambda: publish("m-4", root=os.path.abspath("run")),
            lambda: os.remove("run/checkpoint"),
            lambda: publish("m-4"),
        ]

        def at_random():
            name = f"r-{rng.randrange(5)}"
            rng.choice((save, save_and_publish, publish, remove))(name)

        return fixed + [at_random] * 40

    def tensorflow(self, steps):
        """What checkpoints_iterator gives; whenever it has nothing to give, the next step happens."""
        left = list(steps)

        def step():
            if not left:
                return True
            left.pop(0)()
            return False

        return list(tf.train.checkpoints_iterator("run", timeout=0, timeout_fn=step))

    def ours(self, steps):
        given = []
        for step in [*steps, lambda: None]:
            try:
                printed = cairn("watch", "run", "--latest-only", "--cursor", "seen", "--timeout", "0")
                given += printed.decode().splitlines()
            except Refused as refused:
                self.assertEqual((refused.status, refused.output), (1, b""))
            step()
        return given

    def test_a_watcher_of_the_latest_gives_what_checkpoints_iterator_gives(self):
        seed = random.randrange(1 << 32)
        given = {}
        for asked in (self.tensorflow, self.ours):
            os.makedirs(asked.__name__)
            os.chdir(asked.__name__)
            given[asked.__name__] = asked(self.steps(random.Random(seed)))
            os.chdir("..")
        shown = {name: [path.replace(f"/{name}/", "/") for path in paths] for name, paths in given.items()}
        self.assertEqual(shown["ours"], shown["tensorflow"], f"seed {seed}")
        self.assertEqual(shown["ours"][:4], ["run/m-1", "run/m-2", "run/m-1", "run/m-3"])
        self.assertGreater(len(shown["ours"]), 8, f"seed {seed}")
