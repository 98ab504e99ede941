"""Checkpoints of objects: trees, paths, slots, and what tf.train.Checkpoint restores of what we wrote."""
import os
import subprocess

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.protobuf import trackable_object_graph_pb2

import command
import tensors
from command import Case, Refused, cairn, cairn_json

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"


class Layer(tf.Module):
    def __init__(self, seed):
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal((2, 3), (seed, 1)), name="kernel")
        self.b = tf.Variable(tf.zeros(3))


class Nested(tf.Module):
    """Lists, dicts, odd names, an object that two paths reach, and a cycle."""

    def __init__(self, seed=1):
        super().__init__()
        self.layers = [Layer(seed), Layer(seed + 1), [tf.Variable(seed)]]
        self.named = {"a/b": tf.Variable(1.5), "a.b": tf.Variable([1, 2]), "": tf.Variable(True),
                      ".": tf.Variable(2), "a.Sb": tf.Variable(3), "모델": tf.Variable(4), "x\ny": tf.Variable(5)}
        self.again = self.layers[1]
        self.up = Layer(seed + 2)
        self.up.down = self


def nested(_):
    return tf.train.Checkpoint(model=Nested(), step=tf.Variable(3, dtype=tf.int64))


def python_state(_):
    class State(tf.train.experimental.PythonState):
        def serialize(self):
            return "state"

        def deserialize(self, text):
            pass

    return tf.train.Checkpoint(state=State(), v=tf.Variable(1.0))


def keras_adam(_):
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3, name="dense.1"), tf.keras.layers.Dense(1)])
    optimizer = tf.keras.optimizers.Adam(0.1)
    model.compile(optimizer, "mse")
    model.fit(np.ones((8, 4), "f"), np.ones((8, 1), "f"), epochs=2, verbose=0)
    return tf.train.Checkpoint(model=model, optimizer=optimizer)


def legacy_keras(_):
    """Keras 2, whose older optimizers keep slots."""
    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(3), tf_keras.layers.Dense(1)])
    optimizer = tf_keras.optimizers.legacy.Adam(0.1)
    model.compile(optimizer, "mse")
    model.fit(np.ones((8, 4), "f"), np.ones((8, 1), "f"), verbose=0)
    return tf.train.Checkpoint(model=model, optimizer=optimizer)


def slots(_):
    optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
    w, b = tf.Variable([1.0, 2.0], name="w"), tf.Variable(3.0, name="b")
    for _ in range(2):
        optimizer.minimize(lambda: tf.reduce_sum(w * w) + b * b, var_list=[w, b])
    return tf.train.Checkpoint(net={"w": w, "b": b}, opt=optimizer)


def hash_table(_):
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(tf.constant(["a", "b"]), tf.constant([1, 2], tf.int64))
    return tf.train.Checkpoint(table=table, v=tf.Variable(1.0))


def iterator(_):
    dataset = iter(tf.data.Dataset.range(10).shuffle(4).batch(2))
    next(dataset)
    return tf.train.Checkpoint(iterator=dataset, v=tf.Variable(1.0))


MAKERS = (nested, python_state, keras_adam, legacy_keras, slots, hash_table, iterator)


class Exported(tf.Module):
    def __init__(self):
        super().__init__()
        self.net = Nested()

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32)])
    def __call__(self, x):
        return x @ self.net.layers[0].w + self.net.layers[0].b


def saved_module(folder):
    tf.saved_model.save(Exported(), folder)


def saved_keras(folder):
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3), tf.keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.ones((8, 4), "f"), np.ones((8, 1), "f"), verbose=0)
    tf.saved_model.save(model, folder)


def saved_legacy_keras(folder):
    legacy_keras(None).model.save(folder, save_format="tf")


def exported_keras(folder):
    model = tf.keras.Sequential([tf.keras.Input((4,)), tf.keras.layers.Dense(3), tf.keras.layers.Dense(1)])
    model.export(folder, verbose=False)


SAVED_MODELS = (saved_module, saved_keras, saved_legacy_keras, exported_keras)


def graph_of(prefix):
    proto = trackable_object_graph_pb2.TrackableObjectGraph()
    proto.ParseFromString(tf.train.load_checkpoint(prefix).get_tensor(GRAPH))
    return proto


def escaped(name):
    return name.replace(".", "..").replace("/", ".S")


def stored_under(key, names):
    """The tensors of an attribute: of hash tables and iterators the key is only what their names begin with."""
    return [key] if key in names else sorted(name for name in names if name.startswith(key))


def paths_of(proto):
    """Each node's shortest path, first found; None where there is none."""
    paths, queue = {0: []}, [0]
    for node in queue:
        for child in proto.nodes[node].children:
            if child.node_id not in paths:
                paths[child.node_id] = paths[node] + [escaped(child.local_name)]
                queue.append(child.node_id)
    return {node: "/".join(path) for node, path in paths.items()}


class ReadsObjects(Case):
    def assert_tree(self, path, prefix):
        """`cairn tree --json` says what TensorFlow's own decoding of the graph says."""
        proto, tree = graph_of(prefix), cairn_json("tree", path)
        self.assertTrue(tree["object_based"])
        reader = tf.train.load_checkpoint(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        self.assertEqual(len(tree["nodes"]), len(proto.nodes))
        for node, said in zip(proto.nodes, tree["nodes"]):
            self.assertEqual([(c["name"], c["node"]) for c in said["children"]],
                             [(c.local_name, c.node_id) for c in node.children])
            self.assertEqual([(a["name"], a["full_name"], a["key"]) for a in said["attributes"]],
                             [(a.name, a.full_name, a.checkpoint_key) for a in node.attributes])
            for attribute in said["attributes"]:
                self.assertEqual([(t["name"], t["dtype"], t["shape"]) for t in attribute["tensors"]],
                                 [(n, dtypes[n].name, shapes[n]) for n in stored_under(attribute["key"], shapes)])
            self.assertEqual([(s["variable"], s["name"], s["node"]) for s in said["slots"]],
                             [(s.original_variable_node_id, s.slot_name, s.slot_variable_node_id)
                              for s in node.slot_variables])
        self.assertEqual(tree["unclaimed"], [])
        self.assert_text(path, proto, len(shapes) - 1)

    def assert_text(self, path, proto, tensor_count):
        """Each object stands once, and other ways to it are references."""
        text = cairn("tree", path).decode()
        lines = text.splitlines()
        references = sum("  = " in line for line in lines)
        edges = sum(len(node.children) + len(node.slot_variables) for node in proto.nodes)
        self.assertEqual(references, edges - (len(proto.nodes) - 1), text)
        self.assertTrue(lines[-1].endswith(f"object-based, {len(proto.nodes)} objects with {tensor_count} tensors"), text)

    def assert_paths(self, path, prefix):
        """`cairn cat` finds each tensor by its object path, and by its attribute."""
        proto = graph_of(prefix)
        names = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
        for node, where in paths_of(proto).items():
            for attribute in proto.nodes[node].attributes:
                for name in stored_under(attribute.checkpoint_key, names):
                    asked = f"{where}/.ATTRIBUTES/{attribute.name}{name.removeprefix(attribute.checkpoint_key)}"
                    by_name = cairn("cat", path, name, "--raw")
                    self.assertEqual(cairn("cat", path, asked, "--raw"), by_name, asked)
                    if attribute.name == "VARIABLE_VALUE":
                        self.assert_cat_by_path(path, where, proto, by_name)

    def assert_cat_by_path(self, path, where, proto, by_key):
        full_names = {a.full_name: a.checkpoint_key for n in proto.nodes for a in n.attributes}
        if where in full_names:  # then the path may mean two tensors
            return
        self.assertEqual(cairn("cat", path, where, "--raw"), by_key)

    def assert_same_values(self, path, prefix, values=None):
        """All tensors that numpy can hold, as TensorFlow reads them; of variants that they are there and whole."""
        values = values if values is not None else self.values_of(prefix)
        listed = {e["name"]: e for e in cairn_json("ls", path)["tensors"]}
        self.assertEqual({n: (e["dtype"], e["shape"]) for n, e in listed.items()},
                         {n: (t.dtype, t.shape) for n, t in values.items()})
        for name, tensor in values.items():
            if tensor.raw is not None:
                self.assertEqual(cairn("cat", path, name, "--raw"), tensor.raw, name)
        self.assert_verifies(path)

    def values_of(self, prefix):
        reader = tf.train.load_checkpoint(prefix)
        dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
        readable = {n: d.name for n, d in dtypes.items() if d != tf.variant}
        values = tensors.restore(prefix, readable)
        return values | {n: tensors.Tensor("variant", shapes[n], None) for n in dtypes.keys() - readable.keys()}

    def assert_everything(self, path, prefix):
        values = self.values_of(prefix)
        self.assert_same_values(path, prefix, values)
        self.assert_tree(path, prefix)
        self.assert_paths(path, prefix)
        for target in ("cairn", "tensorflow"):
            copy = self.path(f"{target} {os.path.basename(path)}", "copy")
            cairn("convert", path, copy, "--to", target)
            self.assert_same_values(copy, copy, values)
            self.assert_tree(copy, copy)
        with open(prefix + ".index", "rb") as file:
            index = file.read()
        cairn("import", path)
        self.assert_same_values(path, prefix, values)
        self.assert_tree(path, prefix)
        cairn("export", path, "--to", "tensorflow")
        with open(prefix + ".index", "rb") as file:
            self.assertEqual(file.read(), index)

    def test_what_checkpoint_saves(self):
        for make in MAKERS:
            with self.subTest(make.__name__):
                prefix = make(self).save(self.path(make.__name__, make.__name__))
                self.assert_everything(prefix, prefix)

    def test_a_restore_of_what_was_converted_consumes_everything(self):
        for make in MAKERS:
            for target in ("cairn", "tensorflow"):
                with self.subTest(make.__name__, target=target):
                    prefix = make(self).save(self.path(make.__name__, "ckpt"))
                    copy = self.path(make.__name__, target, "copy")
                    cairn("convert", prefix, copy, "--to", target)
                    make(self).restore(copy).assert_consumed()

    def test_saved_models(self):
        for make in SAVED_MODELS:
            with self.subTest(make.__name__):
                folder = self.path(make.__name__)
                make(folder)
                prefix = os.path.join(folder, "variables", "variables")
                self.assert_everything(folder, prefix)
                tf.saved_model.load(folder)

    def test_slots_stand_below_their_variable(self):
        prefix = slots(self).save(self.path("ckpt"))
        lines = cairn("tree", prefix).decode().splitlines()
        at = lines.index("  w  float32 [2] (w)")
        keys = [f"net/w/.OPTIMIZER_SLOT/opt/{slot}" for slot in "mv"]
        full_names = {a.checkpoint_key: a.full_name for n in graph_of(prefix).nodes for a in n.attributes}
        for key, line in zip(keys, lines[at + 1:]):
            full_name = full_names[key + VARIABLE]
            self.assertEqual(line, f"    {key.removeprefix('net/w/')}  float32 [2] ({full_name})")
            for name in (key, full_name):
                self.assertEqual(cairn("cat", prefix, name), cairn("cat", prefix, key + VARIABLE))

    def test_a_cycle_is_a_reference_and_every_path_through_it_is_found(self):
        prefix = nested(self).save(self.path("ckpt"))
        text = cairn("tree", prefix).decode()
        self.assertIn("\n    down  = model\n", text)
        self.assertIn("x\\x0ay", text)
        key = f"model/again/w{VARIABLE}"
        for path in ("model/layers/1/w", "model/up/down/up/down/again/w"):
            self.assertEqual(cairn("cat", prefix, path), cairn("cat", prefix, key))
        with self.assertRaises(Refused) as caught:
            cairn("cat", prefix, "kernel")  # the full name of three variables
        self.assertIn("fits 3 tensors", str(caught.exception))

    def test_a_manager_directory(self):
        manager = tf.train.CheckpointManager(nested(self), self.path("run"), max_to_keep=2)
        for _ in range(3):
            manager.save()
        self.assert_everything(self.path("run"), manager.latest_checkpoint)

    def test_an_export_that_changes_the_index_of_a_saved_model_tells_of_its_fingerprint(self):
        folder = self.path("model")
        saved_module(folder)
        prefix = os.path.join(folder, "variables", "variables")
        cairn("import", folder)
        self.assertNotIn("fingerprint", told("export", folder, "--to", "tensorflow"))
        copy = self.path("copy")
        self.assertNotIn("fingerprint", told("convert", folder, copy, "--to", "tensorflow"))
        os.remove(prefix + ".index")
        self.assertIn("fingerprint", told("export", folder, "--to", "tensorflow"))
        self.assertIn("fingerprint", told("convert", copy, prefix, "--to", "tensorflow", "--replace"))
        self.assert_everything(folder, prefix)
        tf.saved_model.load(folder)


class WritesObjects(Case):
    def save(self, step, *words):
        prefix = cairn("save", self.path("run", "ckpt"), "--step", str(step), "--object-based", "--policy",
                       "manager", *words)
        return prefix.decode().strip()

    def npy(self, value):
        path = self.path(f"{len(os.listdir(self.folder))}.npy")
        np.save(path, value)
        return path

    def test_restore_consumes_what_was_saved(self):
        w, b = np.arange(6, dtype="f").reshape(2, 3), np.arange(3, dtype=np.int64)
        names = {"a.Sb": 1.5, "a..b": 2.5, "": 3.5, "..": 4.5, "모델": 5.5}
        self.save(7, f"model/layers/0/w={self.npy(w)}", f"model/layers/1={self.npy(b)}",
                  *(f"model/named/{name}:float32={value}" for name, value in names.items()))
        model = tf.Module()
        model.layers = [tf.Module(), tf.Variable(tf.zeros(3, tf.int64))]
        model.layers[0].w = tf.Variable(tf.zeros((2, 3)))
        model.named = {"a/b": tf.Variable(0.0), "a.b": tf.Variable(0.0), "": tf.Variable(0.0), ".": tf.Variable(0.0),
                       "모델": tf.Variable(0.0)}
        checkpoint = tf.train.Checkpoint(model=model)
        manager = tf.train.CheckpointManager(checkpoint, self.path("run"), max_to_keep=3)
        self.assertEqual(manager.latest_checkpoint, self.path("run", "ckpt-7"))
        status = checkpoint.restore(manager.latest_checkpoint)
        status.assert_consumed()
        status.assert_existing_objects_matched()
        np.testing.assert_array_equal(model.layers[0].w, w)
        np.testing.assert_array_equal(model.layers[1], b)
        self.assertEqual([float(v) for v in model.named.values()], list(names.values()))
        self.assertEqual(int(checkpoint.save_counter), 7)
        self.assertEqual(manager.save(), self.path("run", "ckpt-8"))
        self.assertEqual(manager.checkpoints, [self.path("run", "ckpt-7"), self.path("run", "ckpt-8")])

    def test_the_graph_is_the_one_that_tensorflow_makes(self):
        checkpoint = tf.train.Checkpoint(a=tf.Variable(1.0), m={"x": [tf.Variable(2.0)], "y": tf.Variable(3.0)})
        ours = self.save(1, "a:float32=1.0", "m/x/0:float32=2.0", "m/y:float32=3.0")
        theirs = graph_of(checkpoint.save(self.path("theirs", "ckpt")))
        for node in theirs.nodes:
            for attribute in node.attributes:
                attribute.full_name = ""
        self.assertEqual(graph_of(ours), theirs)

    def test_checkpoint_manager_goes_on_with_what_cairn_saves_between(self):
        v = tf.Variable(0.0)
        checkpoint = tf.train.Checkpoint(v=v)
        manager = tf.train.CheckpointManager(checkpoint, self.path("run"), max_to_keep=5)
        manager.save()
        self.save(2, "v:float32=2.0")
        manager = tf.train.CheckpointManager(checkpoint, self.path("run"), max_to_keep=5)
        checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        self.assertEqual((float(v), manager.save()), (2.0, self.path("run", "ckpt-3")))

    def test_a_python_state_is_restored(self):
        class State(tf.train.experimental.PythonState):
            text = None

            def serialize(self):
                return ""

            def deserialize(self, text):
                self.text = text

        state = State()
        prefix = self.save(1, "state/.ATTRIBUTES/py_state:string=told")
        tf.train.Checkpoint(state=state).restore(prefix).assert_consumed()
        self.assertEqual(state.text, b"told")

    def test_a_wrong_graph_is_caught(self):
        """The harness: what is saved without a save counter, or with another path, must not pass."""
        right = tf.train.Checkpoint(v=tf.Variable(0.0))
        right.restore(self.save(1, "v:float32=2.0")).assert_consumed()
        with self.assertRaises(AssertionError):
            tf.train.Checkpoint(w=tf.Variable(0.0)).restore(self.save(2, "v:float32=2.0")).assert_consumed()
        with self.assertRaises(AssertionError):
            right.restore(self.save(3, "v:float32=2.0", "x:float32=1.0")).assert_consumed()


def told(*arguments):
    """What the command says on stderr."""
    done = subprocess.run([command.CAIRN, *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL)
    return done.stderr.decode()
