"""What `meson install` lays down is found and linked by other programs: docs/install.md is done word for word.

The environment names CAIRN_BUILD, a build folder, and CAIRN_CHECKPOINT, a prefix. CAIRN_LONG=1 also compiles the Meson
subproject, which is all of the library once more.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/install.md").read_text()
BUILD = pathlib.Path(os.environ["CAIRN_BUILD"])
CHECKPOINT = os.environ["CAIRN_CHECKPOINT"]
LONG = os.environ.get("CAIRN_LONG") == "1"
NAMES = "v1\nv2\n"


def run(*command, cwd=None, **environment):
    """What the command prints; where it fails, the test does and says what it printed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def on_page(name):
    """The file of this name: a block of the page, whose first line is a comment with the name."""
    return re.search(rf"^```\w+\n((?://|#) {re.escape(name)}\n.*?)^```$", PAGE, re.M | re.S)[1]


def options(build):
    return {option["name"]: option["value"] for option in json.loads(run("meson", "introspect", "--buildoptions", build))}


def scratch_directory(case):
    scratch = tempfile.TemporaryDirectory(prefix="cairn-install-")
    case.addClassCleanup(scratch.cleanup)
    return pathlib.Path(scratch.name)


def needed(program):
    return re.findall(r"Shared library: \[(.*?)\]", run("readelf", "-d", program))


class User(unittest.TestCase):
    """Somebody who writes a program. One installation, below a root that is not the one of its prefix: so it is also a prefix that was moved."""

    @classmethod
    def setUpClass(cls):
        cls.options = options(BUILD)
        cls.root = scratch_directory(cls)
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", cls.root)
        cls.prefix = cls.root / cls.options["prefix"].lstrip("/")
        cls.libraries = cls.prefix / cls.options["libdir"]
        cls.found = {"PKG_CONFIG_PATH": str(cls.libraries / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(cls.root)}

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="cairn-user-")
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        self.write("main.cc")

    def write(self, *names):
        for name in names:
            (self.dir / name).write_text(on_page(name))

    def assert_works(self, program, *, static=False):
        self.assertEqual("libcairn.so.0.1" in needed(program), not static, needed(program))
        environment = {} if static else {"LD_LIBRARY_PATH": str(self.libraries)}
        self.assertEqual(run(program, CHECKPOINT, **environment), NAMES)

    def needs(self, *kinds):
        for kind in kinds:
            if self.options["default_library"] not in (kind, "both"):
                self.skipTest(f"this build folder makes no {kind} library (-Ddefault_library=both)")

    def compile(self, output):
        """By the command of the page that makes this program."""
        command = re.search(rf"^c\+\+ .* -o {re.escape(output)} .*$", PAGE, re.M)[0]
        run("sh", "-c", command, cwd=self.dir, **self.found)
        return self.dir / output


class Installed(User):
    def test_the_command_finds_its_library_and_its_manual_page_is_there(self):
        self.assertIn("v1", run(self.prefix / "bin/cairn", "ls", CHECKPOINT, LD_LIBRARY_PATH=""))
        self.assertTrue((self.prefix / "share/man/man1/cairn.1").exists())

    def test_what_is_installed_is_stripped(self):
        if not self.options["strip"]:
            self.skipTest("this build folder installs with debug information (-Dstrip=false)")
        for file in (self.prefix / "bin/cairn", self.libraries / "libcairn.so", self.libraries / "libcairn.a"):
            if file.exists():
                sections = run("readelf", "-S", "--wide", file)
                self.assertNotIn(".debug_info", sections, file)
                self.assertEqual(".symtab" in sections, file.suffix == ".a", file)

    def test_the_static_library_is_one_whole_archive(self):
        self.needs("static")
        archive = self.libraries / "libcairn.a"
        self.assertEqual(archive.read_bytes()[:8], b"!<arch>\n")  # and not !<thin>, which names files elsewhere
        objects = {object for part in ("lib/libcairn_internal.a", "format/libcairn_format.a")
                   for object in run("ar", "t", BUILD / part).split()}
        self.assertEqual(len(run("ar", "t", archive).split()), len(objects))

    def test_pkg_config_builds_a_program_with_the_shared_library(self):
        self.needs("shared")
        self.assert_works(self.compile("names"))

    def test_pkg_config_builds_a_program_with_the_static_library(self):
        self.needs("static")
        self.assert_works(self.compile("names-static"), static=True)

    def test_pkg_config_static_names_all_that_the_archive_needs(self):
        self.needs("static")
        alone = self.dir / "alone"
        alone.mkdir()
        shutil.copy(self.libraries / "libcairn.a", alone)
        run("sh", "-c", f"c++ main.cc -o names -L{alone} $(pkg-config --static --cflags --libs cairn)", cwd=self.dir,
            **self.found)
        self.assert_works(self.dir / "names", static=True)

    def test_pkg_config_builds_the_example_of_the_readme(self):
        self.needs("shared")
        run("sh", "-c", f"c++ {ROOT}/tests/api/readme_example.cc -o example $(pkg-config --cflags --libs cairn)",
            cwd=self.dir, **self.found)
        directory = pathlib.Path(CHECKPOINT).parent.parent
        printed = run(self.dir / "example", directory, LD_LIBRARY_PATH=str(self.libraries))
        self.assertEqual(printed, "20\nsaved/train2-10\n")

    def test_meson_builds_a_program_with_either_installed_library(self):
        self.needs("shared", "static")
        self.write("meson.build")
        self.assertNotIn("Executing subproject", run("meson", "setup", "build", cwd=self.dir, **self.found))
        run("ninja", "-C", "build", cwd=self.dir)
        self.assert_works(self.dir / "build/names")
        self.assert_works(self.dir / "build/names-static", static=True)


@unittest.skipUnless(shutil.which("cmake"), "cmake is not installed")
class Cmake(User):
    def cmake(self, *arguments):
        return run("cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={self.prefix}", *arguments, cwd=self.dir)

    def test_cmake_builds_a_program_with_either_library(self):
        self.needs("shared", "static")
        self.write("CMakeLists.txt")
        self.cmake()
        run("cmake", "--build", "build", cwd=self.dir)
        self.assert_works(self.dir / "build/names")
        self.assert_works(self.dir / "build/names-static", static=True)

    def test_cmake_accepts_patch_versions_of_the_same_minor_version(self):
        accepted = ["", "0.1", "0.1.0", "0.1.0 EXACT", "0.1...0.1.9", "0.1...<1"]
        refused = ["0", "0.0.9", "0.2", "0.1.1", "1", "1.1", "0.1.1 EXACT", "0.2...1", "0.0...<0.1"]
        lines = ["cmake_minimum_required(VERSION 3.19)", "project(versions CXX)"]
        for version in accepted + refused:
            lines += ["unset(cairn_DIR CACHE)", f"find_package(cairn {version} QUIET)",
                      f'message(STATUS "version {version}: ${{cairn_FOUND}}")']
        (self.dir / "CMakeLists.txt").write_text("\n".join(lines))
        printed = self.cmake()
        for version in accepted + refused:
            self.assertIn(f"-- version {version}: {int(version in accepted)}\n", printed)

    def test_cmake_gives_the_static_library_where_there_is_no_shared_one(self):
        self.needs("static")
        alone = self.dir / "alone"
        shutil.copytree(self.prefix, alone, symlinks=True)
        for file in (alone / self.options["libdir"]).glob("libcairn.so*"):
            file.unlink()
        (self.dir / "CMakeLists.txt").write_text("\n".join(on_page("CMakeLists.txt").splitlines()[:6]))
        self.cmake(f"-DCMAKE_PREFIX_PATH={alone}")
        run("cmake", "--build", "build", cwd=self.dir)
        self.assert_works(self.dir / "build/names", static=True)


@unittest.skipUnless(shutil.which("dpkg-shlibdeps"), "dpkg-dev is not installed")
class Debian(User):
    """The packages of this build folder: only their prefix is another one than that of ./dev deb."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.debs = scratch_directory(cls)
        run("python3", ROOT / "packaging/debian.py", BUILD, cls.debs,
            DPKG_DEB_COMPRESSOR_TYPE="gzip", DPKG_DEB_COMPRESSOR_LEVEL="1")
        cls.packages = {file.name.partition("_")[0]: file for file in cls.debs.iterdir()}

    def unpack(self, *names):
        for name in names:
            run("dpkg-deb", "--extract", self.packages[name], self.dir)
        return self.dir / self.prefix.relative_to(self.root)

    def depends(self, name):
        return re.findall(r"(?:^|, )([^ ,]+)", run("dpkg-deb", "--field", self.packages[name], "Depends").strip())

    def test_each_installed_file_is_in_one_package(self):
        self.unpack(*self.packages)
        found = {str(path.relative_to(self.dir)).removesuffix(".gz") for path in self.dir.rglob("*") if not path.is_dir()}
        expected = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if not path.is_dir()}
        self.assertEqual({path for path in found if not path.startswith("usr/share/doc/")}, expected | {"main.cc"})

    def test_packages_depend_on_what_they_load_and_on_what_their_headers_need(self):
        self.needs("shared", "static")
        self.assertLessEqual({"libc6", "libisal2", "liburing2", "zlib1g"}, set(self.depends("libcairn0.1")))
        self.assertLessEqual({"libcairn0.1", "libc6"}, set(self.depends("cairn")))
        self.assertNotIn("libisal2", self.depends("cairn"))  # the command does not load it itself
        self.assertLessEqual({"libcairn0.1", "libisal-dev", "zlib1g-dev"}, set(self.depends("libcairn-dev")))

    def test_the_package_of_headers_and_the_library_build_a_program(self):
        self.needs("shared")
        libraries = self.unpack("libcairn-dev", "libcairn0.1") / self.options["libdir"]
        self.found = {"PKG_CONFIG_PATH": str(libraries / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": str(self.dir)}
        self.assertEqual(run(self.compile("names"), CHECKPOINT, LD_LIBRARY_PATH=str(libraries)), NAMES)

    def test_the_package_of_the_command_needs_the_library_alone(self):
        self.needs("shared")
        self.assertIn("v1", run(self.unpack("cairn", "libcairn0.1") / "bin/cairn", "ls", CHECKPOINT, LD_LIBRARY_PATH=""))


class Configured(unittest.TestCase):
    """What a configuration builds and needs."""

    LIBRARY = {"cairn", "cairn-c", "cairn_internal", "cairn_format", "cairn_unfused", "index_generated.h"}

    @classmethod
    def setUpClass(cls):
        cls.dir = scratch_directory(cls)

    def configured(self, source, *arguments):
        """The targets by name, and the packages."""
        build = self.dir / self._testMethodName
        printed = run("meson", "setup", build, *arguments, cwd=source)
        targets = json.loads(run("meson", "introspect", "--targets", build))
        packages = {package["name"] for package in json.loads(run("meson", "introspect", "--dependencies", build))}
        return build, printed, targets, packages

    def assert_library_alone(self, targets, packages, besides=()):
        self.assertEqual({target["name"] for target in targets}, self.LIBRARY | set(besides))
        self.assertEqual(packages & {"CLI11", "fmt", "benchmark", "protobuf", "fuse3"}, set())

    def test_without_tools_the_command_and_its_packages_are_left_out(self):
        _, _, targets, packages = self.configured(ROOT, "-Dtools=disabled", "-Dbench=disabled")
        self.assert_library_alone(targets, packages)

    def test_one_kind_of_library_alone_can_be_built(self):
        for kind, other in (("shared", "static library"), ("static", "shared library")):
            with self.subTest(kind):
                build = self.dir / kind
                run("meson", "setup", build, f"-Ddefault_library={kind}", "-Dtests=disabled", cwd=ROOT)
                targets = json.loads(run("meson", "introspect", "--targets", build))
                kinds = {target["type"] for target in targets if target["installed"] and target["name"] == "cairn"}
                self.assertEqual(kinds, {f"{kind} library", "executable"})
                self.assertEqual((build / "meson-private/cairn-static.pc").exists(), kind == "static")

    def subproject(self):
        parent = self.dir / "parent" / self._testMethodName
        (parent / "subprojects").mkdir(parents=True)
        os.symlink(ROOT, parent / "subprojects/cairn")
        for name in ("main.cc", "meson.build"):
            (parent / name).write_text(on_page(name))
        return self.configured(parent, "--force-fallback-for=cairn,cairn-static", "-Doptimization=0", "-Ddebug=false")

    def test_a_subproject_is_the_library_alone(self):
        _, printed, targets, packages = self.subproject()
        for name in ("cairn", "cairn-static"):
            self.assertIn(f"Dependency {name} found: YES 0.1.0 (overridden)", printed)
        self.assert_library_alone(targets, packages, ["names", "names-static"])

    @unittest.skipUnless(LONG, "all of the library once more: ./dev full does it")
    def test_a_subproject_compiles_and_its_parent_runs(self):
        build, *_ = self.subproject()
        run("ninja", "-C", build)
        for name in ("names", "names-static"):
            self.assertEqual("libcairn.so.0.1" in needed(build / name), name == "names")
            self.assertEqual(run(build / name, CHECKPOINT), NAMES)


if __name__ == "__main__":
    unittest.main()
