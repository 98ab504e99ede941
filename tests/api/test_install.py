"""A program outside of this repository builds with pkg-config alone against what `meson install` lays down.

usage: test_install.py BUILD EXAMPLE.cc DIRECTORY     DIRECTORY is the example's argument
"""
import os
import subprocess
import sys
import tempfile


def main(build, example, directory):
    with tempfile.TemporaryDirectory() as root:
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", root], check=True)
        found = [folder for folder, _, names in os.walk(root) if "cairn.pc" in names]
        environment = {**os.environ, "PKG_CONFIG_PATH": found[0], "PKG_CONFIG_SYSROOT_DIR": root}
        flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "cairn"], env=environment, text=True).split()
        program = f"{root}/example"
        subprocess.run(["c++", example, "-o", program, *flags], check=True)
        libraries = os.path.dirname(found[0])
        ran = subprocess.run([program, directory], env={**environment, "LD_LIBRARY_PATH": libraries}, check=True,
                             capture_output=True, text=True)
        assert ran.stdout == "20\nsaved/train2-10\n", ran.stdout


if __name__ == "__main__":
    main(*sys.argv[1:])
