"""Makes everything that a release consists of, from the commit that is checked out.

usage: release.py [--tag] FOLDER

Into FOLDER, which must be empty or absent: the source archive, the source distribution and the wheel of cairn-store,
the recorded C interface, the notes (the version's part of CHANGELOG.md), and SHA256SUMS of all. The wheel is built from
the source distribution, gets the libraries that it needs and their licences, and is tried in a new environment.
Without --tag it is a rehearsal. With it the version must be dated in CHANGELOG.md, and the tag is made at the end; nothing
is sent anywhere. Nothing that is not committed goes into a release.

Needs PyPI, patchelf and Debian's packages of ./dev build; called by `./dev release`.
"""
import argparse
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What is compiled into the module, by the file that Debian's package of it has. Shared libraries are found by themselves.
HEADERS = ["/usr/include/boost/version.hpp", "/usr/include/flatbuffers/flatbuffers.h", "/usr/include/fmt/core.h",
           "/usr/include/protozero/version.hpp"]
SMOKE = """
import numpy, sys, tempfile, cairn_store
array = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
with tempfile.TemporaryDirectory() as folder:
    cairn_store.save(folder + "/model", {"w": array})
    with cairn_store.open(folder + "/model") as checkpoint:
        assert not checkpoint.verify().damage
        numpy.testing.assert_array_equal(checkpoint["w"].numpy(), array)
assert cairn_store.__version__ == sys.argv[1], cairn_store.__version__
"""


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout.strip()


def stop(why):
    sys.exit(f"release: {why}")


def version_of(tree):
    return re.search(r"version: '([^']+)'", open(f"{tree}/meson.build", encoding="utf-8").read())[1]


def notes_of(tree, version):
    """The version's part of the change log, and its date; None: it has none yet."""
    text = open(f"{tree}/CHANGELOG.md", encoding="utf-8").read()
    found = re.search(rf"^## \[{re.escape(version)}\] - (\S+)\n(.*?)(?=^## \[|\Z)", text, re.M | re.S)
    if not found:
        stop(f"CHANGELOG.md has no part '## [{version}] - DATE'; write it")
    date, notes = found.groups()
    return notes.strip() + "\n", None if date == "unreleased" else date


def check_tag(version, date):
    if date is None:
        stop(f"CHANGELOG.md says that {version} is unreleased; write its date and commit, or leave out --tag")
    if run("git", "tag", "--list", f"v{version}", cwd=ROOT):
        stop(f"the tag v{version} is there already; raise the version in meson.build")


def clone(folder):
    """The commit alone, so that nothing else is in the release."""
    if run("git", "status", "--porcelain", cwd=ROOT):
        stop("there are changes that are not committed: commit or remove them (git status)")
    tree = f"{folder}/tree"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, tree)
    return tree


def write_archive(tree, version, out):
    """The same bytes each time: git dates the files by the commit, gzip by nothing."""
    name = f"cairn-{version}"
    archive = subprocess.run(["git", "archive", f"--prefix={name}/", "HEAD"], cwd=tree, check=True, capture_output=True)
    with open(f"{out}/{name}.tar.gz", "wb") as file:
        file.write(gzip.compress(archive.stdout, mtime=0))


def package_of(path):
    """Debian's package that has the file, and the file of its licences."""
    for name in (path, os.path.realpath(path)):  # /lib is a link to /usr/lib, and dpkg knows one of the two
        for place in (name, name.removeprefix("/usr")):
            found = subprocess.run(["dpkg-query", "--search", place], capture_output=True, text=True).stdout
            if found:
                package = found.split(":")[0]
                return package, f"/usr/share/doc/{package}/copyright"
    stop(f"{path}: no Debian package has it, so its licence is not known")


def libraries_of(wheel, folder):
    """The shared libraries that the module in the wheel needs, by their paths here."""
    with zipfile.ZipFile(wheel) as archive:
        module = next(name for name in archive.namelist() if name.endswith(".so"))
        path = archive.extract(module, folder)
    return dict(re.findall(r"(\S+) => (/\S+)", run("ldd", path)))


def repair(wheel, python, folder):
    """A wheel that brings its libraries, and the licences of all that is in it."""
    needed = libraries_of(wheel, f"{folder}/module")
    run(python, "-m", "auditwheel", "repair", "--wheel-dir", f"{folder}/repaired", wheel,
        env={**os.environ, "PATH": f"{os.path.dirname(python)}:{os.environ['PATH']}"}, stderr=subprocess.PIPE)
    name, = os.listdir(f"{folder}/repaired")
    run(python, "-m", "wheel", "unpack", "--dest", f"{folder}/open", f"{folder}/repaired/{name}")
    tree, = (f"{folder}/open/{entry}" for entry in os.listdir(f"{folder}/open"))
    brought = next(entry for entry in os.listdir(tree) if entry.endswith(".libs"))
    # auditwheel adds a hash to the names: libre2-1a2b3c4d.so.9.0.0 is libre2.so.9.
    stems = {re.sub(r"-[0-9a-f]{8}(?=\.)", "", file) for file in os.listdir(f"{tree}/{brought}")}
    paths = [path for path in needed.values() if os.path.basename(os.path.realpath(path)) in stems
             or os.path.basename(path) in stems]
    if len(paths) != len(stems):
        stop(f"the wheel brings {sorted(stems)}, of which only {sorted(paths)} are known")
    licences, = (f"{tree}/{entry}/licenses" for entry in os.listdir(tree) if entry.endswith(".dist-info"))
    for path in sorted({*paths, *HEADERS}):
        package, copyright_file = package_of(path)
        shutil.copy(copyright_file, f"{licences}/{package}.txt")
    backend = run(python, "-c", "import importlib.metadata as m; print(next(str(f.locate()) for f in m.files('nanobind')"
                  " if 'LICENSE' in f.name))")
    shutil.copy(backend, f"{licences}/nanobind.txt")
    os.mkdir(f"{folder}/packed")
    run(python, "-m", "wheel", "pack", "--dest-dir", f"{folder}/packed", tree)
    packed, = os.listdir(f"{folder}/packed")
    # meson-python names the Python that built it; the module is compiled for the oldest one (python/meson.build).
    packed = run(python, "-m", "wheel", "tags", "--remove", "--python-tag", "cp310", f"{folder}/packed/{packed}")
    return f"{folder}/packed/{os.path.basename(packed)}", sorted(os.listdir(licences))


def try_wheel(wheel, version, folder):
    """As a user gets it: a new environment, an empty folder, none of our build's libraries."""
    run(sys.executable, "-m", "venv", f"{folder}/user")
    python = f"{folder}/user/bin/python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    run(python, "-I", "-c", SMOKE, version, cwd=folder)


def build(tree, version, out, folder):
    run(sys.executable, "-m", "venv", f"{folder}/tools")
    python = f"{folder}/tools/bin/python"
    run(python, "-m", "pip", "install", "--quiet", "--requirement", f"{tree}/packaging/requirements.txt")
    run(python, "-m", "build", "--outdir", f"{folder}/built", tree, stderr=subprocess.STDOUT)
    sdist, = (name for name in os.listdir(f"{folder}/built") if name.endswith(".tar.gz"))
    wheel, = (name for name in os.listdir(f"{folder}/built") if name.endswith(".whl"))
    repaired, licences = repair(f"{folder}/built/{wheel}", python, folder)
    try_wheel(repaired, version, folder)
    shutil.copy(f"{folder}/built/{sdist}", out)
    shutil.copy(repaired, out)
    print(f"release: {os.path.basename(repaired)} has {len(licences)} licences: {', '.join(licences)}")


def write_sums(out):
    lines = []
    for name in sorted(os.listdir(out)):
        with open(f"{out}/{name}", "rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    with open(f"{out}/SHA256SUMS", "w", encoding="utf-8") as file:
        file.writelines(lines)
    print("".join(lines), end="")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tag", action="store_true", help="no rehearsal: the tag is made")
    arguments.add_argument("folder")
    options = arguments.parse_args()
    out = os.path.abspath(options.folder)
    if os.path.isdir(out) and os.listdir(out):
        stop(f"{out} is not empty; name another folder")
    with tempfile.TemporaryDirectory(prefix="cairn-release.") as folder:
        tree = clone(folder)
        version = version_of(tree)
        notes, date = notes_of(tree, version)
        if options.tag:
            check_tag(version, date)
        os.makedirs(out, exist_ok=True)
        build(tree, version, out, folder)
        write_archive(tree, version, out)
        shutil.copy(f"{tree}/tests/c/abi-1/libcairn-c.abi", f"{out}/libcairn-c-1.abi")
        with open(f"{out}/NOTES.md", "w", encoding="utf-8") as file:
            file.write(notes)
    write_sums(out)
    if options.tag:
        run("git", "tag", "--annotate", f"v{version}", "--message", f"Cairn {version}", cwd=ROOT)
        print(f"release: tagged v{version}; to publish it: git push origin v{version}")
    else:
        print(f"release: a rehearsal of {version}; no tag was made" + ("" if date else ", and CHANGELOG.md has no date for it"))


if __name__ == "__main__":
    main()
