"""merge and rename: new indexes over shards that stay."""

from bundle import write_bundle, write_safetensors
from command import FAILED, YES, CommandTest

FIELDS = ["prefix", "link", "payload_bytes_copied", "not_nameable",
          "metadata_left_out", "safetensors_metadata_left_out"]


class EditTest(CommandTest):
    def setUp(self):
        super().setUp()
        self.saved = self.golden("tensorflow/saver_walk/saved")
        self.golden("tensorflow/sharded")

    def names(self, path):
        return [tensor["name"] for tensor in self.cairn("ls", path, "--json", exit=YES).json["tensors"]]

    def files(self, *folders):
        return {path: (path.stat().st_ino, path.read_bytes()) for folder in folders for path in (self.dir / folder).iterdir()
                if path.name != ".cairn-lock"}


class Merge(EditTest):
    WORDS = ("merge", "saved/train2-9", "sharded/shard-42", "--output", "out/m")

    def test_a_merge_links_the_shards_and_leaves_the_sources(self):
        before = self.files("saved", "sharded")
        done = self.cairn(*self.WORDS, "--json", exit=YES).json
        self.assertEqual(list(done), FIELDS)
        self.assertEqual(list(done.values()), ["out/m", "hard", 0, [], [], []])
        self.assertEqual(self.files("saved", "sharded"), before)
        self.assertEqual(self.names("out/m"), ["v1", "v2"] + ["w%d" % i for i in range(7)])
        self.assertEqual(self.cairn("cat", "out/m", "v1", exit=YES).text, "20\n")
        self.cairn("verify", "out/m", exit=YES)
        inodes = {inode for inode, _ in before.values()}
        shards = list((self.dir / "out").glob("m.data-*-of-00004"))
        self.assertEqual(len(shards), 4)
        for shard in shards:
            self.assertIn(shard.stat().st_ino, inodes)

    def test_what_is_there_is_not_replaced_unasked(self):
        self.cairn(*self.WORDS, exit=YES)
        self.assertIn("use --replace", self.cairn(*self.WORDS, exit=FAILED).err)
        self.cairn(*self.WORDS, "--replace", exit=YES)
        self.cairn("verify", "out/m", exit=YES)

    def test_a_collision_names_the_tensor_and_both_checkpoints(self):
        ran = self.cairn("merge", "saved/train2-9", "saved/train2-8", "--output", "m", exit=FAILED)
        self.assertEqual(ran.err, 'cairn: tensor "v1" is in both saved/train2-9 and saved/train2-8; '
                                  "to give it another name in one of them, use 'cairn rename'\n")
        self.assertEqual(list(self.dir.glob("m.*")), [])

    def test_a_safetensors_file_is_merged_and_a_warning_says_what_was_read(self):
        write_safetensors(self.dir / "s.safetensors", {"s": ("U8", [2], b"\1\2")})
        ran = self.cairn("merge", "s.safetensors", "saved/train2-9", "--output", "m", exit=YES)
        self.assertIn("1 tensor had no checksum; 2 bytes were read", ran.err)
        self.assertEqual(self.cairn("cat", "m", "s", exit=YES).text, "[1 2]\n")

    def test_a_prefix_and_a_path_are_needed(self):
        self.assertIn("--output", self.cairn("merge", "saved", exit=FAILED).err)
        self.assertIn("PATH", self.cairn("merge", "--output", "m", exit=FAILED).err)
        self.assertIn("is a directory", self.cairn("merge", "saved", "--output", "out/", exit=FAILED).err)


class Rename(EditTest):
    def test_rename_elsewhere_says_what_it_renamed(self):
        before = self.files("saved")
        done = self.cairn("rename", "saved/train2-9", "--map", "v1=layer/w", "--output", "out/m", "--json", exit=YES).json
        self.assertEqual(list(done), FIELDS + ["renamed"])
        self.assertEqual(done["renamed"], [{"from": "v1", "to": "layer/w"}])
        self.assertEqual(self.files("saved"), before)
        self.assertEqual(self.names("out/m"), ["layer/w", "v2"])
        self.assertEqual(self.cairn("cat", "out/m", "layer/w", exit=YES).text, "20\n")

    def test_rename_in_place_wants_to_be_told(self):
        before = self.files("saved")
        words = ("rename", "saved/train2-9", "--regex", "^v([0-9])$=w_$1")
        self.assertIn("use --replace", self.cairn(*words, exit=FAILED).err)
        self.assertEqual(self.files("saved"), before)
        ran = self.cairn(*words, "--replace", exit=YES)
        self.assertIn("v1 → w_1\nv2 → w_2\n", ran.text)
        self.assertIn("train2-9.meta: keeps the old names", ran.err)
        self.assertEqual(self.names("saved/train2-9"), ["w_1", "w_2"])
        after = self.files("saved")
        self.assertEqual([path.name for path in before if after[path] != before[path]], ["train2-9.index"])

    def test_a_dry_run_changes_nothing(self):
        before = self.files("saved")
        words = ("rename", "saved/train2-9", "--map", "v2=a=b", "--regex", "^v=x/v", "--dry-run")
        self.assertEqual(self.cairn(*words, exit=YES).text, "v1 → x/v1\nv2 → a=b\n")
        done = self.cairn(*words, "--json", exit=YES).json
        self.assertEqual(done, {"renamed": [{"from": "v1", "to": "x/v1"}, {"from": "v2", "to": "a=b"}]})
        self.assertEqual(self.files("saved"), before)

    def test_options_may_be_given_again_and_before_the_path(self):
        words = ("rename", "--map", "v1=a", "--map", "v2=b", "saved/train2-9", "--dry-run")
        self.assertEqual(self.cairn(*words, exit=YES).text, "v1 → a\nv2 → b\n")

    def test_refusals_are_one_sentence(self):
        for words, part in (
            (("--map", "v3=w"), 'no tensor "v3"; similar names: "v1", "v2"'),
            (("--map", "v1=v2"), 'would both get the name "v2"'),
            (("--map", "v1="), "an empty name"),
            (("--map", "v1"), "has no '='"),
            (("--regex", "v(=w"), "is not a regular expression"),
            (("--regex", "(?=v)=w"), "look-around, which regular expressions of RE2 do not have"),
            (("--regex", "v=$1"), "there is no group $1"),
            (("--regex", "x=w"), "no tensor's name matches"),
            ((), "no name, prefix or pattern to rename is given"),
        ):
            with self.subTest(words):
                ran = self.cairn("rename", "saved/train2-9", *words, "--replace", exit=FAILED)
                self.assertIn(part, ran.err)
                self.assertEqual(len(ran.err.splitlines()), 1)

    def test_names_with_terminal_escapes_come_out_escaped(self):
        write_bundle(self.dir / "evil", {b"\x1b[31mred": b"1"})
        for words in (("--regex", "red=\x1b[32mgreen"), ("--regex", "red=blue", "--json"), ("--map", "red=x")):
            self.assert_terminal_safe(self.cairn("rename", "evil", *words, "--dry-run"))
