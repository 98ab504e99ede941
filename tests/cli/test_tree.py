"""tree: the objects of a checkpoint, or its names; and object paths where a tensor is wanted."""

from bundle import varint, write_safetensors
from command import FAILED, YES, CommandTest

GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
GOLDEN_TREE = """\
net
  dense
    kernel  float32 [4,3] (Variable)
    bias  float32 [3] (Variable)
  layers
    0  int32 [2] (Variable)
    1  float32 [1] (Variable)
step  int64 [] (Variable)
save_counter  int64 [] (save_counter)
tf_ckpts/ckpt-6: object-based, 10 objects with 6 tensors
"""


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def node(children=(), attributes=(), slots=()):
    """A TrackableObject: children (id, name), attributes (name, key), slots (variable id, name, slot's id)."""
    message = b"".join(field(1, field(1, id) + field(2, name)) for id, name in children)
    message += b"".join(field(2, field(1, name) + field(3, key)) for name, key in attributes)
    return message + b"".join(field(3, field(1, var) + field(2, name) + field(3, id)) for var, name, id in slots)


def graph(*nodes):
    return b"".join(field(1, message) for message in nodes)


class Tree(CommandTest):
    def write_graph(self, message, *words):
        """A checkpoint `m` with this graph, which must not end with a NUL byte: numpy's strings lose it."""
        header = "{'descr': '|S%d', 'fortran_order': False, 'shape': ()}" % len(message)
        header = header.ljust(117).encode() + b"\n"
        npy = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + message
        (self.dir / "graph.npy").write_bytes(npy)
        self.cairn("save", "d/m", GRAPH + "=graph.npy", *words, exit=YES)

    def tree(self, path="d/m"):
        return self.cairn("tree", path, exit=YES).text.splitlines()

    def test_what_tensorflow_wrote(self):
        self.golden("tensorflow/tf2_manager/tf_ckpts")
        self.assertEqual(self.cairn("tree", "tf_ckpts", exit=YES).text, GOLDEN_TREE)
        said = self.cairn("tree", "tf_ckpts", "--json", exit=YES).json
        self.assertEqual((said["prefix"], said["object_based"], said["warnings"], said["unclaimed"]),
                         ("tf_ckpts/ckpt-6", True, [], []))
        self.assertEqual(said["nodes"][5], {"id": 5, "parent": 1, "attributes": [], "slots": [],
                                            "children": [{"name": "0", "node": 8}, {"name": "1", "node": 9}]})
        key = "net/layers/0/.ATTRIBUTES/VARIABLE_VALUE"
        self.assertEqual(said["nodes"][8]["attributes"],
                         [{"name": "VARIABLE_VALUE", "key": key, "full_name": "Variable",
                           "tensors": [{"name": key, "dtype": "int32", "shape": [2]}]}])

    def test_cat_takes_object_paths_and_full_names(self):
        self.golden("tensorflow/tf2_manager/tf_ckpts")
        for name in ("save_counter", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"):
            self.assertEqual(self.cairn("cat", "tf_ckpts", name, exit=YES).text, "6\n")
        ran = self.cairn("cat", "tf_ckpts", "Variable", exit=FAILED)
        self.assertIn('"Variable" fits 5 tensors; use one of these names: "net/dense/bias/.ATTRIBUTES/', ran.err)
        ran = self.cairn("cat", "tf_ckpts", "net/layers/2", exit=FAILED)
        self.assertIn('no tensor "net/layers/2/.ATTRIBUTES/VARIABLE_VALUE"; similar names: "net/layers/0/', ran.err)

    def test_a_name_based_checkpoint_is_a_tree_of_names(self):
        self.cairn("save", "d/m", "a/b:int8=1", "a:int8=2", "a/c/d:string=x", "e//f:int8=3", "g.h:int8=4", exit=YES)
        self.assertEqual(self.tree(), ["a  int8 []", "  b  int8 []", "  c", "    d  string []", "e", '  ""',
                                       "    f  int8 []", "g.h  int8 []",
                                       "d/m: name-based, without objects: 5 tensors by their names"])
        self.assertFalse(self.cairn("tree", "d/m", "--json", exit=YES).json["object_based"])

    def test_a_tensor_without_a_name_stands_in_the_tree(self):
        write_safetensors(self.dir / "m.safetensors", {"": ("U8", [1], b"x"), "a": ("U8", [], b"y")})
        self.assertEqual(self.tree("m.safetensors")[:2], ['""  uint8 [1]', "a  uint8 []"])

    def test_slots_references_cycles_and_the_unreached(self):
        value = b"VARIABLE_VALUE"
        self.write_graph(graph(node([(1, b"w"), (2, b"opt"), (0, b"self"), (1, b"v/.")]), node([], [(value, b"W")]),
                               node([], [], [(1, b"m", 3), (1, b"gone", 4)]), node([], [(value, b"M")]),
                               node([], [(value, b"absent"), (b"table", b"T-")]), node([(6, b"x")]), node([(5, b"y")])),
                         "W:int8=1", "M:int8=2", "T-keys:int8=3", "T-values:int8=4", "other:int8=5")
        self.assertEqual(self.tree(), [
            "w  int8 []", "  .OPTIMIZER_SLOT/opt/m  int8 []", "  .OPTIMIZER_SLOT/opt/gone",
            '    .ATTRIBUTES/VARIABLE_VALUE  no tensor "absent"', "    .ATTRIBUTES/tablekeys  int8 []",
            "    .ATTRIBUTES/tablevalues  int8 []", "opt", "self  = (root)", "v.S..  = w", "(object 5)", "  x",
            "    y  = (object 5)", "other  of no object", "d/m: object-based, 7 objects with 4 tensors"])
        self.assertEqual(self.cairn("tree", "d/m", "--json", exit=YES).json["unclaimed"], ["other"])
        self.assertEqual(self.cairn("cat", "d/m", "self/self/v.S../.OPTIMIZER_SLOT/self/opt/m", exit=YES).text, "2\n")

    def test_names_reach_neither_terminal_nor_json_raw(self):
        evil = b"a\x1b[31m\n\xff"
        self.write_graph(graph(node([(1, evil)]), node([(0, b"\xe2\x80\xae")], [(evil, evil)])), "k:int8=1")
        ran = self.cairn("tree", "d/m", exit=YES)
        self.assert_terminal_safe(ran)
        self.assertIn("a\\x1b[31m\\x0a\\xff\n", ran.text)
        said = self.cairn("tree", "d/m", "--json", exit=YES).json
        self.assertEqual(said["nodes"][0]["children"], [{"name_hex": evil.hex(), "node": 1}])

    def test_a_chain_of_a_hundred_thousand_objects(self):
        depth = 100_000
        chain = [node([(i + 1, b"x"), (0, b"up")]) for i in range(depth)]
        self.write_graph(graph(*chain, node([], [(b"VARIABLE_VALUE", b"W")])), "W:int8=1")
        lines = self.tree()
        self.assertEqual(len(lines), 2 * depth + 1)
        self.assertEqual(lines[depth - 1], " " * 64 + "(%d) x  int8 []" % (depth - 1))
        self.assertEqual(len(self.cairn("tree", "d/m", "--json", exit=YES).json["nodes"]), depth + 1)

    def test_a_damaged_graph_is_refused(self):
        self.write_graph(b"\x0a\x04\x0a\x02\x08\x01", "W:int8=1")
        for verb in (("tree", "d/m"), ("cat", "d/m", "x")):
            ran = self.cairn(*verb, exit=FAILED)
            self.assertEqual((ran.text, ran.err.count("\n")), ("", 1))
            self.assertIn('d/m: _CHECKPOINTABLE_OBJECT_GRAPH node 0: its child "" is node 1, of 1', ran.err)
        self.cairn("cat", "d/m", "W", exit=YES)


class SaveObjects(CommandTest):
    def test_object_paths_become_keys_with_a_graph_and_a_counter(self):
        self.cairn("save", "d/ckpt", "--step", "4", "--object-based", "m/l/0:int8=1", "m/a.b:int8=2", exit=YES)
        names = [tensor["name"] for tensor in self.cairn("ls", "d", "--json", exit=YES).json["tensors"]]
        self.assertEqual(names, [GRAPH, *(path + "/.ATTRIBUTES/VARIABLE_VALUE"
                                          for path in ("m/a..b", "m/l/0", "save_counter"))])
        self.assertEqual(self.cairn("cat", "d", "save_counter", exit=YES).text, "4\n")
        self.assertEqual(self.cairn("cat", "d", "m/a.b", exit=YES).text, "2\n")

    def test_a_counter_that_is_given_is_taken(self):
        self.cairn("save", "d/c", "--step", "4", "--object-based", "save_counter:int64=9", exit=YES)
        self.assertEqual(self.cairn("cat", "d", "save_counter", exit=YES).text, "9\n")

    def test_what_cannot_be_an_object_path_is_refused_before_the_directory_is_touched(self):
        for words, said in ((["a:int8=1", "a/.ATTRIBUTES/VARIABLE_VALUE:int8=2"], "is given twice"),
                            (["w/.OPTIMIZER_SLOT/o/m:int8=1"], "optimizer's slot"),
                            (["/.ATTRIBUTES/x:int8=1"], "names no object below the root"),
                            ([b"\xff:int8=1"], "is not UTF-8"), (["a:int8=1", "--from", "x"], "--from")):
            ran = self.cairn("save", "d/m", "--object-based", *words, exit=FAILED)
            self.assertIn(said, ran.err)
            self.assertFalse((self.dir / "d").exists())
