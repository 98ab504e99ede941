"""./dev where packages are missing: they are installed, or it says which and how, and where they are there it goes on."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

DEV = pathlib.Path(__file__).resolve().parent.parent.parent / "dev"
OTHER = 65534
WORDS = ("demo", "test", "build", "setup", "bench", "asan", "fuzz", "coverage", "valgrind", "tsan", "crash", "deb", "aarch64", "full",
         "engines", "mutants", "server")
MISSING = ("ninja-build", "libboost-dev")

NOT_FOUND = "command not found"
DPKG_QUERY = """case " $(cat "{0}/missing") " in *" ${{@: -1}} "*) exit 1 ;; esac; printf installed"""
APT_GET = """echo "apt-get $*" >>"{0}/calls"; [[ $1 != install ]] || : >"{0}/missing" """
SUDO = """echo "sudo $*" >>"{0}/calls"; exec "$@" """
REFUSES = """echo "sudo: $USER is not in the sudoers file" >&2; exit 1"""
CALLED = """echo "${{0##*/}} $*" >>"{0}/calls" """


class Dev(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="cairn-dev-")
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)
        shutil.copy(DEV, self.dir / "dev")
        (self.dir / "build/tools").mkdir(parents=True)
        (self.dir / "bin").mkdir()
        for program in ("bash", "cat", "dirname", "env", "sed", "expand"):
            os.symlink(shutil.which(program), self.dir / "bin" / program)
        self.have("build/tools/cairn", CALLED)
        for program in ("bin/meson", "bin/ninja"):
            self.have(program, CALLED)
        self.have("bin/dpkg-query", DPKG_QUERY)
        self.say("missing", " ".join(MISSING))
        self.say("calls", "")

    def have(self, name, does):
        self.say(name, "#!%s/bin/bash\n%s\n" % (self.dir, does.format(self.dir)))
        os.chmod(self.dir / name, 0o755)

    def say(self, name, text):
        (self.dir / name).write_text(text)

    def calls(self):
        return (self.dir / "calls").read_text().splitlines()

    def dev(self, word, user=None):
        how = {"user": user, "group": user, "extra_groups": []} if user else {}
        if user:
            for path in (self.dir, *self.dir.rglob("*")):
                os.chown(path, user, user, follow_symlinks=False)
        return subprocess.run([self.dir / "bin/bash", self.dir / "dev", word], env={"PATH": str(self.dir / "bin"), "USER": "me"},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, **how)

    def assert_told(self, ran, why):
        self.assertEqual(ran.returncode, 3, ran.stdout + ran.stderr)
        self.assertIn("(%s): " % why, ran.stderr)
        self.assertIn("\n    apt-get update && apt-get install --no-install-recommends %s\n" % " ".join(MISSING), ran.stderr)
        self.assertNotIn(NOT_FOUND, ran.stderr)

    def other(self):
        if os.geteuid() != 0:
            return None
        return OTHER

    def test_a_user_without_root_and_sudo_is_told_by_every_word_that_installs(self):
        self.have("bin/apt-get", APT_GET)
        for word in WORDS:
            with self.subTest(word):
                ran = self.dev(word, self.other())
                self.assertEqual(ran.returncode, 3, ran.stdout + ran.stderr)
                self.assertIn("you are not root, and there is no sudo", ran.stderr)
                for package in MISSING:
                    self.assertRegex(ran.stderr, r"\n    apt-get update && apt-get install .* %s( |$|\n)" % package)
                self.assertNotIn(NOT_FOUND, ran.stderr)
        self.assertEqual(self.calls(), [])

    def test_the_command_that_it_names_is_exact(self):
        self.assert_told(self.dev("demo"), "there is no apt-get")
        self.have("bin/apt-get", APT_GET)
        self.assert_told(self.dev("demo", self.other()), "you are not root, and there is no sudo")
        self.have("bin/sudo", REFUSES)
        self.assert_told(self.dev("demo", self.other()), "'sudo apt-get' failed, as it says above")
        self.assertEqual(self.calls(), [])

    def test_what_can_be_installed_is_installed_and_it_goes_on(self):
        self.have("bin/apt-get", APT_GET)
        self.have("bin/sudo", SUDO)
        self.assertEqual(self.dev("demo", self.other()).returncode, 0)
        done = " ".join(self.calls())
        self.assertRegex(done, "sudo apt-get update.*apt-get install .*--no-install-recommends " + " ".join(MISSING))
        self.assertRegex(done, "meson setup build ninja -C build tools/cairn cairn demo$")

    def test_where_all_is_there_nobody_asks_for_root(self):
        self.say("missing", "")
        ran = self.dev("demo", self.other())
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertEqual(self.calls()[-1], "cairn demo")

    def test_elsewhere_than_on_debian_it_goes_on(self):
        os.remove(self.dir / "bin/dpkg-query")
        ran = self.dev("demo", self.other())
        self.assertEqual(ran.returncode, 0)
        self.assertIn("dev: this is not Debian, so nothing is installed; install these packages (Debian's names): meson ninja-build", ran.stderr)
        self.assertEqual(self.calls()[-1], "cairn demo")


if __name__ == "__main__":
    unittest.main()
