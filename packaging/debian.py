"""Makes Debian packages of a build folder.

usage: debian.py BUILD FOLDER     FOLDER gets the .deb files

Each shared library gets a package that is named after its soname, because two minor versions must fit beside each other on
one machine. libcairn-dev has what a compiler needs, cairn the rest. What they depend on comes from the files themselves:
shared libraries from dpkg-shlibdeps, the packages of headers from what cairn.pc requires.
DEBFULLNAME and DEBEMAIL name the maintainer. docs/decisions/0016 says why debhelper does not do this.
"""
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
ABOUT = {
    "lib": "Memory-mapped checkpoints, shared library",
    "dev": "Memory-mapped checkpoints, headers and static library",
    "tool": "Opens, checks and converts machine-learning checkpoints",
}
COPYRIGHT = """Cairn is licensed under the Apache License, version 2.0.
On Debian its text is in /usr/share/common-licenses/Apache-2.0.
"""


def output(*command, **options):
    return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True, **options).stdout.strip()


class Packages:
    def __init__(self, build, scratch):
        self.version = json.loads(output("meson", "introspect", "--projectinfo", build))["version"] + "-1"
        self.architecture = output("dpkg", "--print-architecture")
        self.scratch = scratch
        self.roots = scratch / "debian"  # where dpkg-shlibdeps looks for what packages say of their libraries
        self.time = int(os.environ.get("SOURCE_DATE_EPOCH") or commit_time())
        self.libraries = {}  # package: the library's name and the version in its soname
        stage = scratch / "stage"
        output("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", stage)
        self.share_out(stage)

    def share_out(self, stage):
        files = sorted(path for path in stage.rglob("*") if path.is_symlink() or path.is_file())
        for path in files:
            if not path.is_symlink() and re.search(r"/lib[\w-]+\.so\.[\d.]+$", str(path)):
                soname = re.search(r"soname: \[(lib.+)\.so\.(.+)\]", output("readelf", "-d", path))
                self.libraries["%s%s" % soname.groups()] = soname.groups()
        for path in files:
            target = self.roots / self.package_of(path) / path.relative_to(stage)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
            if target.parent.name == "man1":
                target.with_name(target.name + ".gz").write_bytes(gzip.compress(target.read_bytes(), mtime=0))
                target.unlink()

    def package_of(self, path):
        for package, (name, _) in self.libraries.items():
            if path.name.startswith(name + ".so."):
                return package
        return "cairn" if {"bin", "share"} & set(path.parts) else "libcairn-dev"

    def describe(self):
        """The files that say of each package what it is; DEBIAN/control comes last, because it counts the others."""
        names = sorted(path.name for path in self.roots.iterdir())
        (self.roots / "control").write_text("Source: cairn\n\n" + "\n".join(
            f"Package: {name}\nArchitecture: any\n" for name in names))
        for name in names:
            (self.roots / name / "DEBIAN").mkdir()
            documents = self.roots / name / "usr/share/doc" / name
            documents.mkdir(parents=True)
            (documents / "copyright").write_text(COPYRIGHT)
        for name, (library, soversion) in self.libraries.items():
            information = self.roots / name / "DEBIAN"
            (information / "shlibs").write_text(f"{library} {soversion} {name} (>= {self.version})\n")
            (information / "triggers").write_text("activate-noawait ldconfig\n")
        for name in names:
            self.control(name)
        return names

    def control(self, name):
        root = self.roots / name
        kind = "lib" if name in self.libraries else "dev" if name.endswith("-dev") else "tool"
        fields = {
            "Package": name,
            "Source": "cairn",
            "Version": self.version,
            "Architecture": self.architecture,
            "Maintainer": "%s <%s>" % (os.environ.get("DEBFULLNAME", "Cairn"), os.environ.get("DEBEMAIL", "root@localhost")),
            "Installed-Size": str(sum(path.lstat().st_size for path in root.rglob("*")) // 1024),
            "Depends": ", ".join(self.headers_needed() if kind == "dev" else self.libraries_needed(root)),
            "Section": {"lib": "libs", "dev": "libdevel", "tool": "utils"}[kind],
            "Priority": "optional",
            **({"Multi-Arch": "same"} if kind != "tool" else {}),
            "Description": ABOUT[kind] + "\n Checkpoints of TensorFlow, safetensors and others open as they are, without a copy.",
        }
        (root / "DEBIAN/control").write_text("".join(f"{field}: {value}\n" for field, value in fields.items()))

    def libraries_needed(self, root):
        """Of every package that ships a shared library which a program of this one loads."""
        programs = [path for path in root.rglob("*") if not path.is_symlink() and path.is_file()
                    and path.read_bytes()[:4] == b"\x7fELF"]
        own = {f"-l{path.parent}" for path in self.roots.rglob("lib*.so.*")}
        said = output("dpkg-shlibdeps", "-O", *own, *(f"-e{path}" for path in programs), cwd=self.scratch)
        return said.partition("shlibs:Depends=")[2].split(", ")

    def headers_needed(self):
        own = [f"{name} (= {self.version})" for name in self.libraries]
        description = next(self.roots.rglob("cairn.pc")).read_text()
        required = re.search(r"^Requires(?:\.private)?: *(.*)$", description, re.M)
        files = [pathlib.Path(output("pkg-config", "--variable=pcfiledir", name)) / f"{name}.pc"
                 for name in (required[1].split(", ") if required else [])]
        return own + sorted({output("dpkg", "-S", file).partition(":")[0] for file in files})

    def build(self, folder):
        for name in self.describe():
            root = self.roots / name
            for path in [root, *root.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
                os.utime(path, (self.time, self.time), follow_symlinks=False)
            file = folder / f"{name}_{self.version}_{self.architecture}.deb"
            output("dpkg-deb", "--root-owner-group", "--build", root, file,
                   env={**os.environ, "SOURCE_DATE_EPOCH": str(self.time)})
            print(file)


def commit_time():
    return output("git", "-C", ROOT, "log", "-1", "--format=%ct")


def main(build, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cairn-deb-") as scratch:
        Packages(build, pathlib.Path(scratch)).build(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
