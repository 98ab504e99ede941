"""save: the whole life of a directory from the shell, and everything that save refuses."""

import ast
import fcntl
import os
import struct
import subprocess
import time

from bundle import write_bundle, write_safetensors
from command import CAIRN, FAILED, YES, CommandTest

SCALARS = (  # as given, as cat prints it
    ("int32=-10", "-10"), ("int8=-128", "-128"), ("uint8=255", "255"), ("uint64=18446744073709551615", None),
    ("int64=-9223372036854775808", None), ("bool=True", "True"), ("bool=false", "False"), ("float32=0.1", "0.1"),
    ("float64=1e300", "1e+300"), ("float16=0.1", "0.1"), ("float16=65504", "65500.0"), ("float16=-inf", "-inf"),
    ("bfloat16=3", "3.0"), ("bfloat16=-0", "-0.0"), ("bfloat16=nan", "nan"), ("float8_e4m3fn=448", "450.0"),
    ("float8_e5m2=inf", "inf"), ("float8_e4m3fnuz=-0", "0.0"), ("float8_e4m3fnuz=nan", "nan"),
    ("float4_e2m1fn=6", "6.0"), ("int4=-8", "-8"), ("uint2=3", "3"), ("qint32=7", "7"),
    ("complex64=1.5-2j", "1.5-2.0j"), ("complex128=1", "1.0+0.0j"), ("string=a = b", "b'a = b'"), ("string=", "b''"),
)


def npy(header, payload, version=1):
    """An .npy file with a header of the test's choice."""
    text = header.encode() + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + payload


def array(descr, shape, payload, **more):
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    return npy(repr(header | more), payload)


class SaveTest(CommandTest):
    def save(self, *words, exit=YES):
        return self.cairn("save", *words, exit=exit)

    def names(self, suffix=".index", dir="saved"):
        return sorted(path.name.removesuffix(suffix) for path in (self.dir / dir).glob("*" + suffix))

    def everything(self):
        """Every file but the lock, which says who held it last."""
        files = (path for path in self.dir.rglob("*") if path.is_file() and path.name != ".cairn-lock")
        return {path: path.read_bytes() for path in files}

    def refused(self, *words):
        """The one sentence with which this is refused, nothing having changed."""
        before = self.everything()
        ran = self.save(*words, exit=FAILED)
        self.assertEqual((ran.text, len(ran.err.splitlines())), ("", 1), ran.err)
        self.assertEqual(self.everything(), before)
        return ran.err


class Walk(SaveTest):
    """What every user of TensorFlow's Saver knows."""

    def walk(self):
        for step in range(10):
            ran = self.save("saved/train2", "--step", str(step), "v1:int32=%d" % (11 + step), "v2:int32=11")
            self.assertEqual((ran.text, ran.err), ("saved/train2-%d\n" % step, ""))

    def test_one_save_makes_the_directory_and_is_the_latest(self):
        ran = self.save("saved/train1", "v1:int32=10", "v2:int32=11")
        self.assertEqual(ran.text, "saved/train1\n")
        self.assertEqual(
            sorted(path.name for path in (self.dir / "saved").iterdir() if not path.name.startswith(".")),
            ["checkpoint", "train1.cairn", "train1.data-00000-of-00001", "train1.index"])
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train1\n")

    def test_of_ten_saves_five_are_kept_and_the_catalog_names_them_as_tensorflow_would(self):
        self.walk()
        kept = ["train2-%d" % step for step in range(5, 10)]
        self.assertEqual(self.names(), kept)
        self.assertEqual(self.names(".cairn"), kept)
        self.assertEqual(
            (self.dir / "saved" / "checkpoint").read_text(),
            'model_checkpoint_path: "train2-9"\n'
            + "".join('all_model_checkpoint_paths: "%s"\n' % name for name in kept))

    def test_the_latest_is_restored_and_gone_on_with(self):
        self.walk()
        self.assertEqual(self.cairn("cat", "saved", "v1", exit=YES).text, "20\n")
        done = self.save("saved/train2", "--step", "10", "v1:int32=21", "--from", "saved", "--json").json
        self.assertEqual(done, {
            "prefix": "saved/train2-10",
            "kept": ["saved/train2-%d" % step for step in range(6, 11)],
            "deleted": ["saved/train2-5"],
            "warnings": [], "base": None, "written_bytes": 4104, "shared_bytes": 0, "dead_bytes": 0})
        for path in ("saved", "saved/train2-10"):
            self.assertEqual(self.cairn("cat", path, "v1", exit=YES).text, "21\n")
            self.assertEqual(self.cairn("cat", path, "v2", exit=YES).text, "11\n")
        self.cairn("verify", *done["kept"], exit=YES)

    def test_a_directory_that_tensorflow_wrote_is_gone_on_with(self):
        self.golden("tensorflow/saver_walk/saved")
        done = self.save("saved/train2", "--step", "10", "v1:int32=21", "--from", "saved", "--json").json
        self.assertEqual(done["deleted"], ["saved/train2-5"])
        self.assertEqual(self.names(), ["train1", "train2-10"] + ["train2-%d" % step for step in range(6, 10)])
        self.assertEqual(self.cairn("cat", "saved", "v2", exit=YES).text, "11\n")

    def test_a_name_without_a_slash_is_saved_here(self):
        self.assertEqual(self.save("m", "--step", "3", "v:int8=1").text, "./m-3\n")
        self.assertEqual(self.cairn("latest", ".", exit=YES).text, "./m-3\n")

    def test_the_same_prefix_is_saved_over(self):
        for value in (1, 2):
            self.save("saved/m", "v:int8=%d" % value)
        self.assertEqual(self.cairn("cat", "saved/m", "v", exit=YES).text, "2\n")
        self.assertEqual(self.cairn("cat", self.save("saved/m", "--from", "saved/m").text.strip(), "v").text, "2\n")


class Retention(SaveTest):
    def steps(self, count, *words):
        for step in range(count):
            self.save("saved/m", "--step", str(step), "v:int32=%d" % step, *words)
        return [int(name[2:]) for name in self.names()]

    def test_as_many_stay_as_are_asked_for(self):
        self.assertEqual(self.steps(4, "--max-to-keep", "2"), [2, 3])

    def test_none_goes_where_all_are_kept(self):
        self.assertEqual(self.steps(7, "--max-to-keep", "0"), list(range(7)))

    def test_steps_that_are_multiples_stay_too(self):
        self.assertEqual(self.steps(8, "--max-to-keep", "1", "--every-steps", "3"), [0, 3, 6, 7])

    def test_the_best_stay_too(self):
        for step, loss in enumerate((0.5, 0.1, 0.3, 0.2, 0.9)):
            self.save("saved/m", "--step", str(step), "v:int8=1", "--max-to-keep", "1", "--best", "loss:2",
                      "--metric", "loss=%s" % loss)
        self.assertEqual(self.names(), ["m-1", "m-3", "m-4"])

    def test_the_highest_are_the_best_where_that_is_said(self):
        for step, score in enumerate((1, 9, 3, 7, 2)):
            self.save("saved/m", "--step", str(step), "v:int8=1", "--max-to-keep", "1", "--best",
                      "eval:score:2:highest", "--metric", "eval:score=%d" % score)
        self.assertEqual(self.names(), ["m-1", "m-3", "m-4"])

    def test_the_first_of_so_many_hours_stays_too(self):
        self.assertEqual(self.steps(4, "--max-to-keep", "1", "--keep-every", "24"), [0, 3])

    def test_tensorflows_policies_keep_as_many(self):
        self.assertEqual(self.steps(4, "--max-to-keep", "2", "--policy", "saver"), [2, 3])
        self.assertEqual(self.steps(4, "--max-to-keep", "2", "--policy", "manager"), [2, 3])
        self.assertIn("all_model_checkpoint_timestamps", (self.dir / "saved" / "checkpoint").read_text())

    def test_pinned_ones_stay(self):
        self.save("saved/m", "--step", "100", "--pin", "v:int8=1")
        self.assertEqual(self.steps(4, "--max-to-keep", "2"), [100, 2, 3])

    def test_the_step_is_padded_as_tensorflow_pads_it(self):
        self.assertEqual(self.save("saved/m", "--step", "7", "--pad-step-number", "v:int8=1").text,
                         "saved/m-00000007\n")

    def test_rules_that_cannot_be_are_refused(self):
        for words, why in (
            (("--best", "loss"), "'loss' is neither METRIC:N"),
            (("--best", "loss:0"), "N at least 1"),
            (("--best", ":2"), "metric without a name"),
            (("--every-steps", "0"), "every 0 steps"),
            (("--policy", "saver", "--every-steps", "2"), "must be the only rule"),
            (("--policy", "oldest"), "'oldest' is not one of manager, newest, saver"),
            (("--keep-every", "-1"), "hours are 0 or more"),
            (("--max-to-keep", "-1"), "'-1' is negative"),
            (("--metric", "loss"), "'loss' is not NAME=VALUE"),
            (("--metric", "loss=low"), "'loss=low' is not NAME=VALUE"),
            (("--lock-wait", "-1"), "--lock-wait"),
        ):
            with self.subTest(words):
                self.assertIn(why, self.refused("saved/m", "v:int8=1", *words))
        self.assertFalse((self.dir / "saved").exists())


class Words(SaveTest):
    def test_a_scalar_of_every_dtype_comes_back(self):
        for word, shown in SCALARS:
            with self.subTest(word):
                self.save("c", "v/a:" + word, "--replace", exit=YES)
                self.assertEqual(self.cairn("cat", "c", "v/a", exit=YES).text, (shown or word.split("=")[1]) + "\n")

    def test_a_narrow_float_is_the_nearest_and_of_two_the_even_one(self):
        for word, shown in (("bfloat16=257", "256.0"), ("bfloat16=259", "260.0"), ("float8_e4m3fn=17", "16.0"),
                            ("float8_e4m3fn=17.1", "18.0"), ("float8_e4m3fn=19", "20.0"), ("float4_e2m1fn=0.2", "0.0"),
                            ("float16=65519.9", "65500.0"), ("float16=3e-8", "6e-08")):
            with self.subTest(word):
                self.save("c", "v:" + word, "--replace", exit=YES)
                self.assertEqual(self.cairn("cat", "c", "v", exit=YES).text, shown + "\n")

    def test_words_that_are_no_tensor_are_refused(self):
        (self.dir / "w.txt").write_text("w")
        for word, why in (
            ("v", "'v' is neither NAME=FILE.npy nor NAME:DTYPE=VALUE"),
            ("=1", "neither"),
            (":int32=1", "needs a name"),
            ("v:int33=1", "'int33' is not a dtype"),
            ("v:int32=", "'' is not a valid int32"),
            ("v:int32=ten", "'ten' is not a valid int32"),
            ("v:int32=1.5", "'1.5' is not a valid int32"),
            ("v:int32=1 ", "'1 ' is not a valid int32"),
            ("v:int32=2147483648", "2147483648 does not fit int32"),
            ("v:uint8=-1", "'-1' is not a valid uint8"),
            ("v:int4=8", "8 does not fit int4"),
            ("v:bool=2", "'2' is not a valid bool"),
            ("v:float32=1e39", "1e39 does not fit float32"),
            ("v:float16=65520", "65520 does not fit float16"),
            ("v:float8_e4m3fn=inf", "inf does not fit float8_e4m3fn"),
            ("v:float4_e2m1fn=nan", "nan does not fit float4_e2m1fn"),
            ("v:complex64=1+2", "'1+2' is not a valid complex64"),
            ("v:complex64=1++2j", "is not a valid complex64"),
            ("v:variant=1", "variant"),
            ("v:resource=1", "resource"),
            ("v:\x1b[31m=1", "\\x1b[31m"),
            ("v=nowhere.npy", "nowhere.npy: does not exist"),
            ("v=.", ".: is not a regular file"),
            ("v=w.txt", "w.txt: is not a checkpoint of a format that Cairn knows"),
        ):
            with self.subTest(word):
                self.assertIn(why, self.refused("saved/m", word))
        self.assertIn("'v' is given twice", self.refused("saved/m", "v:int8=1", "v:int16=1"))
        self.assertIn("nothing to save", self.refused("saved/m"))
        self.assertFalse((self.dir / "saved").exists())

    def test_names_that_no_file_can_have_are_refused(self):
        for prefix, why in (("saved/", "is a directory"), ("", "empty"), ("..", "is a directory"),
                            ("checkpoint", "the name of the catalog"), (os.fsdecode(b"a\xff"), "UTF-8")):
            with self.subTest(prefix):
                ran = self.save(prefix, "v:int8=1", exit=FAILED)
                self.assertIn(why, ran.err)
                self.assert_terminal_safe(ran)

    def test_a_file_where_the_directory_should_be_is_refused(self):
        (self.dir / "saved").write_text("no directory")
        self.assertIn("saved: ", self.refused("saved/m", "v:int8=1"))

    def test_a_graph_is_saved_along(self):
        (self.dir / "graph").write_bytes(b"graph")
        self.save("saved/m", "--meta", "graph", "v:int8=1")
        self.assertEqual((self.dir / "saved" / "m.meta").read_bytes(), b"graph")
        self.assertIn("nowhere cannot be read", self.refused("saved/m", "--meta", "nowhere", "v:int8=1"))

    def test_tensorflows_index_can_be_left_out(self):
        self.save("saved/m", "--no-tensorflow-index", "v:int8=1")
        self.assertEqual((self.names(".index"), self.names(".cairn")), ([], ["m"]))


class Npy(SaveTest):
    def write(self, contents):
        (self.dir / "w.npy").write_bytes(contents)

    def test_what_cat_writes_save_reads(self):
        self.golden("tensorflow/dtypes")
        tensors = [entry["name"] for entry in self.cairn("ls", "dtypes/all", "--json").json["tensors"]
                   if "float8" not in entry["name"] and entry["dtype"].rstrip("0123456789") not in
                   ("qint", "quint") and "int4" not in entry["name"] and "int2" not in entry["name"]
                   and "float4" not in entry["name"]]
        self.assertGreater(len(tensors), 10)
        words = []
        for i, tensor in enumerate(tensors):
            (self.dir / ("%d.npy" % i)).write_bytes(self.cairn("cat", "dtypes/all", tensor, "--npy", exit=YES).out)
            words.append("%s=%d.npy" % (tensor, i))
        self.save("new/c", *words)
        for tensor in tensors:
            with self.subTest(tensor):
                old, new = (self.cairn("cat", path, tensor, exit=YES).out for path in ("dtypes/all", "new/c"))
                self.assertEqual(old, new)

    def test_strings_and_empty_tensors_go_there_and_back(self):
        self.golden("tensorflow/strings")
        self.golden("tensorflow/shapes")
        for path, tensor in (("strings/all", "grid"), ("shapes/all", "empty"), ("shapes/all", "scalar")):
            with self.subTest(tensor):
                old = self.cairn("cat", path, tensor, "--npy", exit=YES).out
                self.write(old)
                self.save("new/c", "t=w.npy", "--replace")
                self.assertEqual(self.cairn("cat", "new/c", "t", "--npy", exit=YES).out, old)

    def test_versions_and_spellings_of_headers_are_read(self):
        payload = struct.pack("<2i", 7, 8)
        for header in ("{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }",
                       "{'shape': (2,), 'fortran_order': False, 'descr': '<i4'}   ",
                       '{"descr":"<i4","fortran_order":False,"shape":(2,)}'):
            for version in (1, 2, 3):
                with self.subTest(header=header, version=version):
                    self.write(npy(header, payload, version))
                    self.save("c", "a:0=w.npy")
                    self.assertEqual(self.cairn("cat", "c", "a:0", exit=YES).text, "[7 8]\n")

    def test_elements_that_numpy_has_no_type_for_are_told(self):
        self.golden("tensorflow/dtypes")
        told = []
        for entry in self.cairn("ls", "dtypes/all", "--json", exit=YES).json["tensors"]:
            ran = self.cairn("cat", "dtypes/all", entry["name"], "--npy")
            if ran.exit == YES and entry["dtype"] != "string":
                told.append((entry["name"], entry["dtype"]))
                (self.dir / ("%d.npy" % len(told))).write_bytes(ran.out)
        self.assertGreater(len(told), 25)
        words = ["%s:%s=%d.npy" % (*each, i + 1) for i, each in enumerate(told)]
        self.save("new/c", *words)
        for name, dtype in told:
            with self.subTest(dtype):
                old, new = (self.cairn("cat", path, name, exit=YES).out for path in ("dtypes/all", "new/c"))
                self.assertEqual(old, new)

    def test_elements_that_cannot_be_what_is_said_are_refused(self):
        self.write(array("<f4", (2,), bytes(8)))
        for dtype in ("int32", "float64", "float8_e5m2"):
            self.assertIn("numpy's '<f4' is not " + dtype, self.refused("saved/m", "v:%s=w.npy" % dtype))
        self.write(array("|V1", (2,), bytes(2)))
        self.assertIn("numpy's 'V1' is not bfloat16", self.refused("saved/m", "v:bfloat16=w.npy"))
        self.assertIn("needs a name", self.refused("saved/m", ":uint8=w.npy"))
        self.save("saved/m", "v:string=w.npy")  # a text like any other
        self.assertEqual(self.cairn("cat", "saved/m", "v", exit=YES).text, "b'w.npy'\n")

    def test_every_spelling_of_an_order_and_a_kind_is_read(self):
        for descr, order in (("<f4", "<"), ("=f4", "<"), ("|f4", "<"), ("f4", "<"), (">f4", ">")):
            with self.subTest(descr):
                self.write(array(descr, (3,), struct.pack(order + "3f", 0.5, 1, 2)))
                self.save("c", "v=w.npy", "--replace")
                self.assertEqual(self.cairn("cat", "c", "v", exit=YES).text, "[0.5 1.0 2.0]\n")
        for descr, payload, shown in (("?", b"\1", "True"), ("b1", b"\0", "False"), ("=i1", b"\xff", "-1"),
                                      (">c8", struct.pack(">2f", 1, 2), "1.0+2.0j"), (">V2", b"\x80\x3f", "1.0")):
            with self.subTest(descr):
                self.write(array(descr, (), payload))
                self.save("c", "v=w.npy", "--replace")
                self.assertEqual(self.cairn("cat", "c", "v", exit=YES).text, shown + "\n")
        self.write(npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2L, 1L), }", struct.pack("<2i", 7, 8)))
        self.save("c", "v=w.npy", "--replace")  # Python 2
        self.assertEqual(self.cairn("ls", "c", "--json", exit=YES).json["tensors"][0]["shape"], [2, 1])

    def test_fortran_order_is_turned(self):
        shape = (2, 3, 4)
        places = [(i, j, k) for k in range(4) for j in range(3) for i in range(2)]  # the first varies fastest
        for descr, order in (("<i4", "<"), (">i4", ">")):
            payload = b"".join(struct.pack(order + "i", 100 * i + 10 * j + k) for i, j, k in places)
            self.write(array(descr, shape, payload, fortran_order=True))
            self.save("c", "v=w.npy")
            expected = b"".join(struct.pack("<i", 100 * i + 10 * j + k) for i, j, k in sorted(places))
            self.assertEqual(self.cairn("cat", "c", "v", "--raw", exit=YES).out, expected)
        for shape, payload in (((0, 3), b""), ((), b"\1"), ((2,), b"\1\2"), ((1, 2), b"\1\2")):
            self.write(array("|u1", shape, payload, fortran_order=True))
            self.save("c", "v=w.npy", "--replace")
            self.assertEqual(self.cairn("cat", "c", "v", "--raw", exit=YES).out, payload)
        self.write(array("|S2", (2, 2), b"aab\0ccd\0", fortran_order=True))
        self.save("c", "v=w.npy", "--replace")
        self.assertEqual(self.cairn("cat", "c", "v", "--raw", exit=YES).out, b"aaccbd")

    def test_more_than_one_block_is_streamed(self):
        payload = struct.pack("<700001I", *range(700001))
        self.write(array("<u4", (700001,), payload))
        self.save("c", "big=w.npy")
        self.assertEqual(self.cairn("cat", "c", "big", "--raw", exit=YES).out, payload)

    def test_files_that_are_not_what_they_say_are_refused(self):
        whole = array("<i4", (2,), bytes(8))
        sound = "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }"
        for contents, why in (
            (b"", "this is not a .npy file"),
            (whole[:7], "byte 7: it ends in its header"),
            (whole[:9], "byte 9: it ends in its header"),
            (whole[:40], "byte 40: it ends in its header"),
            (whole[:-1], "has 7 bytes of elements, but its header says 8: it is truncated"),
            (whole + b"0", "has 9 bytes of elements, but its header says 8: it is too long"),
            (npy(sound, bytes(8), version=4), "version 4.0"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header has 4294967295 bytes, more than the limit"),
            (npy(sound[:-1], bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound + "}", bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("(2,)", "(2)"), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("(2,)", "(-2,)"), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("(2,)", "(2 2)"), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("(2,)", "[2]"), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("(2,)", "(99999999999999999999,)"), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("(2,)", "(4294967296, 4294967296, 4)"), bytes(8)), "shape is too large"),
            (npy(sound.replace("False", "0"), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("'shape'", "'descr'"), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("'shape': (2,), ", ""), bytes(8)), "header does not have the form that numpy writes"),
            (npy(sound.replace("(2,), ", "(2,), 'x': 1"), bytes(8)), "header does not have the form that numpy writes"),
            (array("|O", (2,), bytes(8)), "Python objects"),
            (array([("a", "<i4")], (2,), bytes(8)), "holds structures"),
            (array("<U1", (2,), bytes(8)), "numpy's 'U1'"),
            (array("<f16", (2,), bytes(32)), "numpy's 'f16'"),
            (array("|S0", (9999999999,), b""), 'dtype "|S0"'),
            (array("|V1", (8,), bytes(8)), "without a type ('V1'): give the dtype, as NAME:DTYPE=w.npy"),
            (array("|V3", (1,), bytes(3)), "numpy's 'V3'"),
            (array("<M8[ns]", (1,), bytes(8)), "numpy's 'M8[ns]'"),
            (array("\x1b[31m", (1,), bytes(8)), "\\x1b"),
        ):
            with self.subTest(contents[:100]):
                self.write(contents)
                self.assertIn(why, self.refused("saved/m", "v=w.npy"))
        self.assertFalse((self.dir / "saved").exists())


class From(SaveTest):
    def raw(self, path, tensor):
        return self.cairn("cat", path, tensor, "--raw", exit=YES).out

    def test_whatever_opens_is_taken_over_whole(self):
        for golden, path in (("dtypes", "dtypes/all"), ("strings", "strings/all"), ("sharded", "sharded/shard-42"),
                             ("partitioned", "partitioned/part"), ("shapes", "shapes/all")):
            self.golden("tensorflow/" + golden)
            self.save("new/" + golden, "--from", path)
            self.cairn("verify", "new/" + golden, exit=YES)
            listings = [self.cairn("ls", prefix, "--json", exit=YES).json["tensors"]
                        for prefix in (path, "new/" + golden)]
            self.assertEqual(*([(t["name"], t["dtype"], t["shape"]) for t in listing] for listing in listings))
            for tensor in listings[0]:
                with self.subTest(checkpoint=golden, tensor=tensor["name"]):
                    self.assertEqual(self.raw("new/" + golden, tensor["name"]), self.raw(path, tensor["name"]))

    def test_safetensors_are_taken_over(self):
        write_safetensors(self.dir / "m.safetensors", {"w": ("I32", [2], b"\1\0\0\0\2\0\0\0")})
        self.save("new/m", "--from", "m.safetensors", "v:int8=1")
        self.assertEqual(self.cairn("cat", "new/m", "w", exit=YES).text, "[1 2]\n")

    def test_tensors_that_share_their_bytes_go_on_sharing_them(self):
        write_bundle(self.dir / "b", {b"t": b"1234", b"u": b"5678"}, tied={b"s": b"t", b"v": b"u"})
        self.save("new/m", "--from", "b", "v:int8=1", "--replace")
        listing = self.cairn("ls", "new/m", "--json", exit=YES).json["tensors"]
        place = {tensor["name"]: (tensor["shard"], tensor["offset"]) for tensor in listing}
        self.assertEqual(place["s"], place["t"])
        self.assertEqual(len(set(place.values())), 3)
        self.assertEqual(self.raw("new/m", "s"), b"1234")

    def test_a_tensor_that_is_named_is_not_taken(self):
        self.golden("tensorflow/saver_walk/saved")
        words = ("new/m", "--from", "saved/train1", "v1:float32=0.5")
        self.assertIn("tensor 'v1' is int32 [] in saved/train1, but you gave float32 []: add --replace",
                      self.refused(*words))
        self.save(*words, "--replace")
        self.assertEqual(self.cairn("cat", "new/m", "v1", exit=YES).text, "0.5\n")
        self.assertEqual(self.cairn("cat", "new/m", "v2", exit=YES).text, "11\n")

    def test_damage_is_not_taken_over(self):
        saved = self.golden("tensorflow/saver_walk/saved")
        self.flip_bit(saved / "train2-9.data-00000-of-00001", 0)
        catalog = (saved / "checkpoint").read_bytes()
        ran = self.save("saved/train2", "--step", "10", "--from", "saved/train2-9", exit=FAILED)
        self.assertIn('"v1"', ran.err)
        self.assertEqual((saved / "checkpoint").read_bytes(), catalog)
        self.assertEqual(list(saved.glob("train2-10*")), [])

    def test_what_does_not_open_is_refused(self):
        self.assertIn("nowhere", self.refused("saved/m", "--from", "nowhere", "v:int8=1"))


class Over(SaveTest):
    """Saving over a prefix: what is there goes only where that is said."""

    def test_the_same_tensors_are_saved_again_and_new_ones_added(self):
        self.save("saved/m", "a:int32=1", "b:string=x")
        self.save("saved/m", "a:int32=2", "b:string=y", "c:int8=3")
        self.assertEqual(self.cairn("cat", "saved/m", "b", exit=YES).text, "b'y'\n")
        self.save("saved/m", "--from", "saved/m", "a:int32=4")
        self.assertEqual(self.cairn("cat", "saved/m", "c", exit=YES).text, "3\n")

    def test_a_tensor_that_would_go_or_change_is_named(self):
        self.save("saved/m", "a:int32=1", "b:string=x")
        self.assertIn('tensor "b" (string []) is not in the new checkpoint', self.refused("saved/m", "a:int32=2"))
        self.assertIn('tensor "a" was int32 [] and is now string []', self.refused("saved/m", "a:string=2", "b:string="))
        self.assertIn("tensor 'a' is int32 [] in saved/m, but you gave string []",
                      self.refused("saved/m", "--from", "saved", "a:string=2"))
        ran = self.save("saved/m", "a:string=2", "--replace", "--json")
        self.assertEqual(len(ran.json["warnings"]), 1)
        for word in ('tensor "b" (string []) is not in the new checkpoint', 'tensor "a" was int32 [] and is now string []'):
            self.assertIn(word, ran.json["warnings"][0])
        self.assertEqual(len(self.cairn("ls", "saved/m", "--json", exit=YES).json["tensors"]), 1)

    def test_what_tensorflow_wrote_is_guarded_too(self):
        self.golden("tensorflow/saver_walk/saved")
        self.assertIn('tensor "v2" (int32 []) is not in the new checkpoint', self.refused("saved/train1", "v1:int32=1"))
        self.save("saved/train1", "v1:int32=1", "v2:int32=1")

    def test_an_object_is_given_by_its_path(self):
        self.save("ckpts/ckpt", "--object-based", "step:int64=1", "model/w:float32=2")
        key = "step/.ATTRIBUTES/VARIABLE_VALUE"
        self.assertIn(key, self.refused("ckpts/ckpt", "step:int64=100"))
        self.save("ckpts/ckpt", "step:int64=100", "--from", "ckpts")
        names = [tensor["name"] for tensor in self.cairn("ls", "ckpts", "--json", exit=YES).json["tensors"]]
        self.assertIn(key, names)
        self.assertNotIn("step", names)
        self.assertEqual(self.cairn("cat", "ckpts", "step", exit=YES).text, "100\n")
        self.assertIn("'%s' is given twice" % key, self.refused("new/m", "step:int64=1", key + ":int64=2",
                                                                 "--from", "ckpts"))


F_OFD_SETLK = 37  # of Linux; Python names it since 3.9 on some systems only


class Shared(SaveTest):
    def locked(self):
        """The directory's lock in other hands: byte 0, a lock of the open file."""
        lock = open(self.dir / "saved" / ".cairn-lock", "r+")
        self.addCleanup(lock.close)
        fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        return lock

    def test_a_wait_is_none_or_some_seconds_or_for_ever(self):
        self.save("saved/m", "v:int8=1")
        lock = self.locked()
        for word, waited in (("0", "waited 0 ms"), ("0.02", "waited 20 ms"), ("0.0001", "waited 1 ms")):
            with self.subTest(word):
                self.assertIn(waited, self.cairn("prune", "saved", "--lock-wait", word, exit=FAILED).err)
        for word in ("-1", "nan", "-inf", "soon", ""):
            with self.subTest(word):
                self.assertIn("is neither seconds, 0 or more, nor inf",
                              self.cairn("prune", "saved", "--lock-wait", word, exit=FAILED).err)
        waiting = [subprocess.Popen([CAIRN, "prune", "saved", "--lock-wait", word], cwd=self.dir,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for word in ("inf", "1e300")]
        time.sleep(0.1)
        self.assertEqual([process.poll() for process in waiting], [None, None])
        lock.close()
        for process in waiting:
            self.assertEqual((process.communicate()[1], process.returncode), (b"", YES))

    def test_help_says_how_to_wait_for_ever(self):
        for verb in ("save", "prune", "pin", "import", "export", "convert", "merge", "rename", "salvage", "cp", "mv", "rm",
                     "set-latest", "state"):
            with self.subTest(verb):
                text = " ".join(self.cairn(verb, "--help", exit=YES).text.split())
                needs = "Needs: --repair " if verb == "state" else ""
                self.assertIn("--lock-wait SECONDS %sHow long to wait for another writer (30; 0: not at all; "
                              "inf: for ever)" % needs, text)

    def test_a_second_writer_is_told_who_writes(self):
        self.save("saved/m", "v:int8=1")
        with self.locked() as lock:
            lock.truncate(0)  # a line begins with the number of its byte
            lock.write("0 trainer, process 4711 on host7\n")
            lock.flush()
            for words in (("save", "saved/m", "v:int8=2"), ("prune", "saved"), ("pin", "saved/m"),
                          ("set-latest", "saved", "m"), ("state", "saved", "--repair")):
                with self.subTest(words):
                    ran = self.cairn(*words, "--lock-wait", "0.05", exit=FAILED)
                    self.assertIn("--lock-wait", ran.err)
                    self.assertEqual(ran.text, "")
                    self.assertIn("waited 50 ms", ran.err)
                    self.assertIn("trainer, process 4711 on host7", ran.err)
            self.assertEqual(self.cairn("cat", "saved", "v", exit=YES).text, "1\n")  # readers need no lock
            self.cairn("prune", "saved", "--dry-run", exit=YES)
            self.cairn("state", "saved", "--repair", "--dry-run", "--lock-wait", "0", exit=YES)
        self.save("saved/m", "v:int8=2")

    def test_what_another_publishes_over_the_source_is_not_lost(self):
        self.save("saved/m", "v:int8=1", "w:int8=1")
        self.save("other/m", "v:int8=5", "w:int8=5")
        words = ["save", "saved/m", "--from", "saved/m", "v:int8=2"]
        with open(self.dir / "saved" / ".cairn-lock", "r+") as lock:
            fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
            save = subprocess.Popen([CAIRN, *words], cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            waits = lambda: any(os.readlink(name).endswith(".cairn-lock") for name in self.open_files(save.pid))
            self.assertTrue(self.becomes(waits))  # the source is open, and the directory's turn has not come
            self.cairn("convert", "other/m", "saved/m", "--to", "cairn", "--replace", exit=YES)
        said = save.communicate(timeout=60)[1].decode()
        self.assertEqual(save.returncode, FAILED, said)
        self.assertIn("saved/m: another process replaced it while it was read; nothing has changed; try again", said)
        self.assertEqual([self.cairn("cat", "saved/m", name, exit=YES).text for name in "vw"], ["5\n", "5\n"])
        self.cairn(*words, exit=YES)
        self.assertEqual([self.cairn("cat", "saved/m", name, exit=YES).text for name in "vw"], ["2\n", "5\n"])

    def open_files(self, pid):
        directory = "/proc/%d/fd" % pid
        return [os.path.join(directory, name) for name in os.listdir(directory)]

    def becomes(self, holds):
        for _ in range(2000):
            try:
                if holds():
                    return True
            except FileNotFoundError:
                pass  # a descriptor that was closed meanwhile
            time.sleep(0.01)
        return False

    def test_what_a_killed_save_left_is_cleaned_up_by_the_next(self):
        write_bundle(self.dir / "b", {b"t": b"1234"})
        self.save("saved/m", "--from", "b")
        (self.dir / "saved" / "m.data-00000-of-00001.cairn-tmp-0123456789abcdef").write_bytes(b"left")
        self.save("saved/m", "--from", "b")
        self.assertEqual(list((self.dir / "saved").glob("*.cairn-tmp-*")), [])
