"""Unpacks Debian packages of another architecture, and all that they depend on, into a folder to cross-compile against.

usage: sysroot.py ARCHITECTURE FOLDER PACKAGE…

The machine itself is not changed: dpkg learns of no foreign architecture, because a foreign development package may push
out the native one. So root is not needed. FOLDER/sysroot.ini names FOLDER to a cross file of meson. A folder that was
filled with the same packages is left as it is.
"""
import os
import pathlib
import shutil
import subprocess
import sys


def main(architecture, folder, *packages):
    folder = pathlib.Path(folder).absolute()
    filled, wanted = folder / "filled-with", " ".join(packages)
    if filled.exists() and filled.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    for archive in download(architecture, folder / "apt", packages):
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
    shutil.rmtree(folder / "apt")
    for path in folder.rglob("*"):
        if path.is_symlink() and os.readlink(path).startswith("/"):  # it means the root of the other system
            target = folder / os.readlink(path).lstrip("/")
            path.unlink()
            path.symlink_to(os.path.relpath(target, path.parent))
    (folder / "sysroot.ini").write_text(f"[constants]\nsysroot = '{folder}'\n")
    filled.write_text(wanted)


def download(architecture, state, packages):
    """By an apt that knows no other architecture and no installed package."""
    for place in ("lists/partial", "archives/partial"):
        (state / place).mkdir(parents=True)
    (state / "status").touch()
    settings = {"APT::Architecture": architecture, "APT::Architectures": architecture, "Debug::NoLocking": "1",
                "Dir::State": state, "Dir::State::status": state / "status", "Dir::Cache": state}
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    if os.geteuid() == 0:
        apt.append("-oAPT::Sandbox::User=root")  # the user _apt may not enter this folder
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "install", "-y", "--download-only", "--no-install-recommends", *packages], check=True)
    return sorted((state / "archives").glob("*.deb"))


if __name__ == "__main__":
    main(*sys.argv[1:])
