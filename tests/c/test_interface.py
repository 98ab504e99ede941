"""What holds for the C interface as a whole: it is declared, exported, documented and called; it is only added to; and
programs in C, Rust and Go are built with it as their authors would, against an installed library.

usage: test_interface.py BUILD [unittest's options]
"""
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

import abi

ROOT = os.path.normpath(f"{abi.HERE}/../..")
INCLUDE = f"{ROOT}/lib/c/include"
SAVED = f"{ROOT}/tests/golden/tensorflow/saver_walk/saved"
HEADERS = sorted(glob.glob(f"{INCLUDE}/cairn/c/*.h"))
# Each may be several words: "ccache gcc".
CC, CXX = shlex.split(os.environ.get("CC", "cc")), shlex.split(os.environ.get("CXX", "c++"))
BUILD = None  # of the command line


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def declared():
    """Each function of the headers, and the comment above or behind it."""
    found = {}
    for path in HEADERS:
        for comment, text, behind in re.findall(r"((?:^//.*\n)*)^(CAIRN_C_API [^;]*);(.*)$", read(path), re.M):
            found[re.search(r"(cairn_\w+)\(", text).group(1)] = comment + behind
    return found


def needs(*programs):
    missing = [each for each in programs if not shutil.which(each)]
    return unittest.skipIf(missing, f"{', '.join(missing)} is not installed")


class Header(unittest.TestCase):
    def test_what_is_declared_is_exported_and_nothing_else(self):
        said = run("nm", "-D", "--defined-only", f"{BUILD}/lib/c/libcairn-c.so.1")
        exported = {line.split()[2].split("@")[0] for line in said.splitlines() if line.split()[1] != "A"}
        self.assertEqual(exported, set(declared()))
        recorded = re.findall(r"^    (\w+);$", read(f"{ROOT}/lib/c/exports.map"), re.M)
        self.assertEqual(sorted(recorded), sorted(declared()))

    def test_each_function_is_documented(self):
        self.assertGreater(len(declared()), 100)
        for name, comment in declared().items():
            with self.subTest(name):
                self.assertRegex(comment, r"//+ *\S+ \S+")

    def test_each_type_is_documented(self):
        for path in HEADERS:
            for before, name in re.findall(r"^(.*)\ntypedef (?:struct|enum) (\w+)", read(path), re.M):
                with self.subTest(name):
                    self.assertTrue(before.startswith("//"))

    def test_each_function_that_can_fail_says_how(self):
        for path in HEADERS:
            for comment, name in re.findall(r"((?:^//.*\n)+)^CAIRN_C_API cairn_code\s(cairn_\w+)\([^;]*cairn_error\*\* error", read(path), re.M):
                with self.subTest(name):
                    self.assertRegex(comment, r"Errors:|these errors|error of `fill`")

    def test_each_function_is_called_by_the_tests(self):
        tests = "".join(read(path) for path in glob.glob(f"{abi.HERE}/*.c"))
        self.assertEqual([name for name in declared() if f"{name}(" not in tests], [])

    def test_the_headers_are_clean_and_no_struct_has_hidden_padding(self):
        with tempfile.TemporaryDirectory() as box:
            for name in ["cairn/c.h", *(os.path.relpath(path, INCLUDE) for path in HEADERS)]:
                for suffix in ("c", "cc"):
                    with open(f"{box}/{name.replace('/', '_')}.{suffix}", "w", encoding="utf-8") as file:
                        file.write(f"#include <{name}>\nint main(void) {{ return 0; }}\n")
            strict = ["-Wall", "-Wextra", "-Wpedantic", "-Wpadded", "-Werror", "-fsyntax-only", f"-I{INCLUDE}"]
            run(*CC, "-std=c99", "-Wstrict-prototypes", *strict, *glob.glob(f"{box}/*.c"))
            run(*CXX, "-std=c++11", *strict, *glob.glob(f"{box}/*.cc"))

    def test_c_and_cpp_are_used_side_by_side(self):
        source = "#include <cairn/c.h>\n#include <cairn/cairn.h>\nint main() { return CAIRN_C_VERSION + CAIRN_VERSION < 0; }\n"
        run(*CXX, "-std=c++20", "-Werror", "-Wall", "-fsyntax-only", f"-I{INCLUDE}", f"-I{ROOT}/lib/include", "-x", "c++", "-",
            input=source)


OLD = """
#include <stddef.h>
typedef struct box { size_t struct_size; int width; int height; } box;
typedef enum color { RED = 0, BLUE = 1 } color;
typedef struct handle handle;
// behind the header
#include "x.h"
struct handle { int secret; };
color cairn_color(const box* of, int amount) { return of->width == amount ? RED : BLUE; }
int cairn_other(handle* of) { return of->secret; }
"""


@needs("abidw", "abidiff", "cc")
class Abi(unittest.TestCase):
    def test_only_additions_since_it_was_recorded(self):
        changed = abi.differences(read(abi.RECORD), abi.dump(f"{BUILD}/lib/c/libcairn-c.so.1"))
        self.assertEqual(changed, "", "an old program would break; if all is addition, 'python3 tests/c/abi.py LIBRARY'")

    def test_every_function_and_number_is_recorded(self):
        recorded = read(abi.RECORD)
        self.assertEqual(set(re.findall(r'<function-decl name="(\w+)"', recorded)), set(declared()))
        numbers = re.findall(r"^  (CAIRN_\w+) = (\d+),?", "".join(read(path) for path in HEADERS), re.M)
        self.assertGreater(len(numbers), 70)
        for name, value in numbers:
            self.assertIn(f'<enumerator name="{name}" value="{value}" />', recorded)

    @staticmethod
    def of(source):
        with tempfile.TemporaryDirectory() as box:
            for name, text in zip(("x.h", "x.c"), source.split("// behind the header\n")):
                with open(f"{box}/{name}", "w", encoding="utf-8") as file:
                    file.write(text)
            run(*CC, "-g", "-shared", "-fPIC", "-o", f"{box}/libx.so", f"{box}/x.c")
            return abi.dump(f"{box}/libx.so", room=r"x\.[ch]", headers=r"x\.h")

    def test_additions_are_allowed(self):
        before = self.of(OLD)
        for old, new in [("int height;", "int height; int depth;"), ("BLUE = 1", "BLUE = 1, GREEN = 2"),
                         ("int cairn_other", "int cairn_new(void) { return 2; }\nint cairn_other"),
                         ("int secret;", "long other; int secret;")]:
            with self.subTest(new):
                self.assertEqual(abi.differences(before, self.of(OLD.replace(old, new))), "")

    def test_every_other_change_is_found(self):
        before = self.of(OLD)
        for old, new in [("int width;", "int depth; int width;"), ("int height;", ""), ("BLUE = 1", "BLUE = 2"),
                         ("int height;", "long height;"), ("int width; int height;", "int height; int width;"),
                         ("RED = 0, ", "PINK = 0, RED = 1, "), ("int amount", "long amount"),
                         ("int cairn_other(handle* of) { return of->secret; }", ""), ("int cairn_other", "char cairn_other"),
                         ("(handle* of) { return of->secret; }", "(void) { return 1; }"), ("(handle* of)", "(const handle* of)"),
                         ("int cairn_other(handle* of) { return of->secret; }", "int cairn_other(box* of) { return of->width; }")]:
            with self.subTest(f"{old} → {new}"):
                source = OLD.replace(old, new).replace("BLUE = 1 }", "BLUE = 2 }" if "PINK" in new else "BLUE = 1 }")
                self.assertNotEqual(abi.differences(before, self.of(source)), "")

    def test_a_program_of_version_1_0_runs(self):
        with tempfile.TemporaryDirectory() as box:
            os.mkdir(f"{box}/cairn")
            shutil.copy(f"{abi.HERE}/abi-1/c-1.0.txt", f"{box}/cairn/c.h")
            run(*CC, "-std=c99", "-D_DEFAULT_SOURCE", f"-I{box}", *sorted(glob.glob(f"{abi.HERE}/*.c")), "-o", f"{box}/old",
                f"-L{BUILD}/lib/c", "-lcairn-c")
            said = run(f"{box}/old", f"{ROOT}/tests/golden", env={**os.environ, "LD_LIBRARY_PATH": f"{BUILD}/lib/c"})
            self.assertRegex(said, r"^\d+ passed, 0 failed")


class Programs(unittest.TestCase):
    """Examples and the page for users of C, against an installed library."""

    @classmethod
    def setUpClass(cls):
        cls.box = tempfile.mkdtemp()
        cls.install()
        found = [folder for folder, _, names in os.walk(cls.box) if "cairn-c.pc" in names]
        cls.environment = {**os.environ, "PKG_CONFIG_PATH": found[0], "PKG_CONFIG_SYSROOT_DIR": cls.box,
                           "LD_LIBRARY_PATH": os.path.dirname(found[0])}

    @classmethod
    def install(cls):
        """What `meson install` lays down for C, where it does: this needs no other library and no command."""
        listed = json.loads(run("meson", "introspect", "--installed", BUILD))
        ours = {source: cls.box + place for source, place in listed.items() if re.search(r"cairn-c\.|/cairn/c[./]", place)}
        library = next(os.path.basename(source) for source in ours if re.search(r"/libcairn-c\.so\.[\d.]+$", source))
        for source, place in ours.items():
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if os.path.isabs(source):
                shutil.copy(source, place)
            else:
                os.symlink(library, place)  # another name of the library

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.box)

    def setUp(self):
        self.place = tempfile.mkdtemp(dir=self.box)
        shutil.copytree(SAVED, f"{self.place}/saved")

    def there(self, *command, **environment):
        return run(*command, cwd=self.place, env={**self.environment, **environment})

    def flags(self, *options):
        return run("pkg-config", *options, "cairn-c", env=self.environment).split()

    def c_program(self, source):
        with open(f"{self.place}/program.c", "w", encoding="utf-8") as file:
            file.write(source)
        self.there(*CC, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "program.c", "-o", "program",
                   *self.flags("--cflags", "--libs"))

    @needs("pkg-config")
    def test_c(self):
        self.c_program(read(f"{ROOT}/examples/c/readme.c"))
        self.assertEqual(self.there("./program"), "20\nsaved/train2-10\n")

    @needs("pkg-config", "rustc")
    def test_rust(self):
        self.there("rustc", "--edition", "2021", "-D", "warnings", f"{ROOT}/examples/rust/list.rs", "-o", "list",
                   *self.flags("--libs-only-L"))
        self.assertEqual(self.there("./list", "saved/train2-9"), "v1 int32 []\nv2 int32 []\n")
        with self.assertRaisesRegex(AssertionError, "no checkpoint there"):
            self.there("./list", "saved/none")

    @needs("pkg-config", "go")
    def test_go(self):
        for name in ("go.mod", "main.go"):
            shutil.copy(f"{ROOT}/examples/go/{name}", self.place)
        self.there("go", "build", "-o", "list", ".", GOTOOLCHAIN="local", GOFLAGS="-buildvcs=false")
        self.assertEqual(self.there("./list", "saved/train2-9"), "v1 int32 []\nv2 int32 []\n")

    @needs("pkg-config")
    def test_the_snippets_of_the_page(self):
        snippets = re.findall(r"```c\n(.*?)```", read(f"{ROOT}/docs/c.md"), re.S)
        programs = [each for each in snippets if "int main" in each]
        self.assertTrue(programs)
        for source in programs:
            self.c_program(source)
            if "cairn_convert" in source:
                self.assertIn("float32", self.there("./program", "saved/train2-9", "out.safetensors"))  # which no tensor has
                self.assertTrue(os.path.exists(f"{self.place}/out.safetensors"))
                continue
            self.assertEqual(self.there("./program", "saved/train2-9"), "v1: int32, 4 bytes\nv2: int32, 4 bytes\n")

    @needs("pkg-config", "readelf")
    def test_the_library_needs_no_other_of_cairn(self):
        path = f"{self.environment['LD_LIBRARY_PATH']}/libcairn-c.so.1"
        said = run("readelf", "-d", path)
        self.assertIn("soname: [libcairn-c.so.1]", said)
        self.assertNotIn("libcairn.so", said)


if __name__ == "__main__":
    BUILD = sys.argv.pop(1)
    unittest.main()
