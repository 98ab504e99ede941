"""The house rules that no compiler checks. Each check below is one function and one named test.

usage: tidy.py [--root DIR] [--build DIR] [--bless]

A check takes a Tree and yields the sentences of what it found: `file:line: what is wrong`. --bless records the golden
files and the exported symbols as they are now. tests/tidy/test_tidy.py proves of each check that it can fail.
"""
import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys

from source import code_only, functions, includes

CHECKS = []


class Skip(Exception):
    """What a check needs is not there."""


class Tree:
    """The files of the repository, by path relative to its root."""

    def __init__(self, root, build=None):
        self.root, self.build = root, build
        self.files = sorted(self._list())
        self._text = {}

    def _list(self):
        git = ["git", "-C", self.root, "ls-files", "-co", "--exclude-standard", "-z"]
        listed = subprocess.run(git, capture_output=True) if os.path.exists(f"{self.root}/.git") else None
        if listed and listed.returncode == 0:
            names = listed.stdout.decode().split("\0")
            return [name for name in names if os.path.isfile(f"{self.root}/{name}")]
        return [os.path.relpath(os.path.join(folder, name), self.root)
                for folder, _, names in os.walk(self.root) for name in names
                if not re.match(r"(\./)?(build|\.venv|\.git)\b", os.path.relpath(folder, self.root))]

    def text(self, path):
        if path not in self._text:
            with open(f"{self.root}/{path}", encoding="utf-8", errors="surrogateescape") as file:
                self._text[path] = file.read()
        return self._text[path]

    def sources(self, *prefixes):
        """C++ and C files below any of these folders; all where none is given."""
        return [f for f in self.files if f.endswith((".cc", ".c", ".h")) and (not prefixes or f.startswith(prefixes))]

    def texts(self):
        """Files meant for reading: no golden data."""
        return [f for f in self.files if not f.startswith("tests/golden/")
                and f.endswith((".cc", ".c", ".h", ".rs", ".go", ".py", ".md", ".build", ".txt", ".fbs", ".sh", "dev", "run"))]


def check(name):
    def register(function):
        CHECKS.append((name, function))
        return function
    return register


# --- rooms and arrows -----------------------------------------------------------------------------------------------

STONES = {"lib/include/cairn/" + h for h in ("error.h", "dtype.h", "exec_options.h", "export.h")} | {"lib/try.h"}
PUBLIC = "lib/include/cairn"
# Each room, and the rooms it may include. Tests may include anything. The order is that of the arrows: downwards.
ARROWS = {
    "tools": {PUBLIC},
    "bench": {"tools", PUBLIC},
    "lib/c": {PUBLIC},
    "lib/live": {"lib/saver", "lib/open", "lib/read", "lib/os", "format", PUBLIC},
    "lib/saver": {"lib/edit", "lib/open", "lib/write", "lib/read", "lib/os", "format", PUBLIC},
    "lib/edit": {"lib/open", "lib/write", "lib/read", "lib/os", "format", PUBLIC},
    "lib/open": {"lib/read", "lib/os", "format", PUBLIC},
    "lib/write": {"lib/read", "lib/os", "format", PUBLIC},
    "lib/read": {"lib/os", "format", PUBLIC},
    "lib/os": set(),
    "format": set(),
    PUBLIC: set(),
    "lib": {PUBLIC},
}
# tensor.h: what a tensor is, without its bytes (TensorSpec, Digest128), is a fact that the formats state too, and so is
# what object_graph.h says of objects. sigbus_guard.h knows of system calls alone, and lib/os implements it.
EXTRA = {"format": {PUBLIC + "/tensor.h", PUBLIC + "/object_graph.h"}, "lib/os": {PUBLIC + "/sigbus_guard.h"}}

# Headers from outside, and the rooms that may use them. Public headers: the standard library alone.
OUTSIDE = [
    (r"fcntl\.h|unistd\.h|dirent\.h|poll\.h|c?signal(\.h)?|sys/.*|linux/.*|boost/.*|liburing\.h",
     ("lib/os", "tools", "bench", "tests")),
    (r"flatbuffers/.*|.*_generated\.h|xxh.*\.h|isa-l.*|crc\.h|protozero/.*|snappy.*|simdjson.*|zlib\.h",
     ("format", "bench", "tests")),
    (r"re2/.*", ("lib/edit",)),
    (r"fmt/.*|CLI/.*", ("tools", "bench", "tests")),
    (r"iostream|thread|chrono|filesystem|fstream|locale|mutex", ("lib", "tools", "bench", "tests", PUBLIC)),
]


def room_of(path):
    return next((room for room in sorted(ARROWS, key=len, reverse=True) if path.startswith(room + "/")), None)


def resolve(tree, path, name):
    """The file of this repository that an #include names; None for one from outside."""
    places = [name, f"lib/include/{name}", f"lib/c/include/{name}", os.path.normpath(os.path.join(os.path.dirname(path), name))]
    return next((place for place in places if place in tree.files), None)


@check("includes follow the arrows between the rooms")
def arrows(tree):
    for path in tree.sources("format/", "lib/", "tools/", "bench/"):
        room = room_of(path)
        for line, name, _ in includes(tree.text(path)):
            target = resolve(tree, path, name)
            if target is None or target in STONES or target in EXTRA.get(room, ()):
                continue
            to = room_of(target)
            if to != room and to not in ARROWS[room]:
                yield f"{path}:{line}: {room} must not include {target}"


# format makes one system call: it wishes for huge pages.
OUTSIDE_EXCEPTION = ("format/plain_tensors.cc", "sys/mman.h")


@check("a header from outside is used only in its room")
def outside(tree):
    for path in tree.sources():
        room = room_of(path) or "tests"
        for line, name, _ in includes(tree.text(path)):
            if resolve(tree, path, name):
                continue
            for pattern, rooms in OUTSIDE:
                allowed = room in rooms or room != PUBLIC and "lib" in rooms and room.startswith("lib/")
                if re.fullmatch(pattern, name) and not allowed and (path, name) != OUTSIDE_EXCEPTION:
                    yield f"{path}:{line}: <{name}> is not for {room}"
            if room == PUBLIC and "/" in name or room == PUBLIC and name.endswith(".h"):
                yield f"{path}:{line}: public headers use the standard library alone, not <{name}>"


@check("no cycle among includes")
def cycles(tree):
    graph = {p: [t for _, n, _ in includes(tree.text(p)) if (t := resolve(tree, p, n))] for p in tree.sources()}
    done = set()
    for start in graph:
        trail, pending = [], [(start, iter(graph[start]))]
        while pending:
            path, rest = pending[-1]
            trail = [p for p, _ in pending]
            following = next(rest, None)
            if following is None:
                done.add(path)
                pending.pop()
            elif following in trail:
                yield f"{path}:1: includes itself by way of {' → '.join(trail[trail.index(following):])}"
                return
            elif following not in done:
                pending.append((following, iter(graph[following])))


# --- files ----------------------------------------------------------------------------------------------------------

@check("no file is too long")
def file_sizes(tree):
    for path in tree.sources() + [f for f in tree.files if f.endswith(".py")]:
        limit = 250 if path.startswith(PUBLIC) else 800 if path.startswith("tests/") else 600
        if (count := tree.text(path).count("\n")) > limit:
            yield f"{path}:{count}: {count} lines, the limit is {limit}"


@check("no line is too long")
def line_lengths(tree):
    for path in tree.sources() + [f for f in tree.files if f.endswith((".fbs", ".build"))]:
        limit = 100 if path.endswith((".cc", ".c", ".h")) else 120
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if len(line) > limit and "http" not in line and 'R"(' not in line:
                yield f"{path}:{number}: {len(line)} columns, the limit is {limit}"


@check("no function is too long")
def function_lengths(tree):
    for path in tree.sources():
        for name, first, last in functions(tree.text(path)):
            if last - first >= 70:
                yield f"{path}:{first}: {name} has {last - first + 1} lines, the limit is 70"


def precompiled(path):
    """A header that is compiled as a file of its own, where a compiler warns of #pragma once."""
    return os.path.dirname(path).endswith("/precompiled")


@check("each header opens with #pragma once")
def pragma_once(tree):
    for path in tree.sources():
        if path.endswith(".h") and not precompiled(path) and not tree.text(path).startswith("#pragma once\n"):
            yield f"{path}:1: the first line must be #pragma once"


@check("no dead file")
def dead_files(tree):
    included = {resolve(tree, p, n) for p in tree.sources() for _, n, _ in includes(tree.text(p))}
    for path in tree.sources():
        compiled = path.endswith((".cc", ".c")) or precompiled(path)
        if not compiled and path not in included and path != PUBLIC + "/cairn.h":
            yield f"{path}:1: no file includes it"
        if compiled and not built(tree, path) and not path.startswith("examples/"):  # their tests build them
            yield f"{path}:1: no meson.build names it"


def built(tree, path):
    folder = os.path.dirname(path)
    while True:
        script = os.path.join(folder, "meson.build")
        if script in tree.files and re.search(rf"'{re.escape(os.path.relpath(path, folder or '.'))}'", tree.text(script)):
            return True
        if not folder:
            return False
        folder = os.path.dirname(folder)


@check("the umbrella header includes every public header")
def umbrella(tree):
    named = {n for _, n, _ in includes(tree.text(PUBLIC + "/cairn.h"))}
    for path in tree.sources(PUBLIC + "/"):
        name = path.removeprefix("lib/include/")
        if name not in named | {"cairn/cairn.h", "cairn/export.h", "cairn/c.h"}:
            yield f"{path}:1: cairn/cairn.h does not include it"


@check("each public header is installed")
def installed(tree):
    if "lib/meson.build" not in tree.files:
        return
    for path in tree.sources(PUBLIC + "/"):
        if "'%s'" % path.removeprefix("lib/") not in tree.text("lib/meson.build"):
            yield f"{path}:1: lib/meson.build does not install it"


@check("the example in the README is the one that is compiled")
def example(tree):
    path = "tests/api/readme_example.cc"
    if path not in tree.files:
        return
    begun = tree.text(path).partition("  // README begins\n")[2]
    lines = [line.removeprefix("  ") for line in begun.partition("  // README ends\n")[0].splitlines()]
    if not lines or "\n".join(lines) not in tree.text("README.md"):
        yield f"README.md:1: its example differs from {path}"


@check("each test that a page names is there")
def named_tests(tree):
    for page in [f for f in tree.files if re.fullmatch(r"docs/\w+\.md", f)]:
        for number, line in enumerate(tree.text(page).splitlines(), 1):
            for path, names in re.findall(r"\]\(\.\./(tests/[\w/]+\.(?:cc|py))\)(?:: *([^\[|]*))?", line):
                if path not in tree.files:
                    yield f"{page}:{number}: there is no {path}"
                for name in (name.strip().rstrip(".") for name in names.split(";")):
                    wanted = f"def {name}(" if path.endswith(".py") else f'"{name}"'
                    if path in tree.files and name and wanted not in tree.text(path):
                        yield f"{page}:{number}: {path} has no test {name!r}"


@check("each guarantee names a test")
def guarantees(tree):
    page = "docs/GUARANTEES.md"
    promised = tree.text(page).partition("## Promised\n")[2].partition("\n## ")[0] if page in tree.files else ""
    for promise in re.split(r"\n(?=\*\*)", promised)[1:]:
        if "](../tests/" not in promise:
            yield f"{page}:1: no test for {promise[:promise.index('.')]!r}"


# --- words ----------------------------------------------------------------------------------------------------------

@check("no TODO without an issue")
def todos(tree):
    for path in tree.texts():
        if path.startswith("tests/tidy/") or path.endswith(".md"):
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if re.search(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))", line):
                yield f"{path}:{number}: name the issue, as in TODO(#12)"


@check("lib and format neither print, nor end the process, nor handle signals")
def quiet(tree):
    # A failed Result dereference and CAIRN_ASSERT alone may abort; the guard that users ask for alone handles a signal.
    may_abort = (PUBLIC + "/error.h", "lib/try.h")
    may_handle = "lib/os/sigbus_guard.cc"
    loud = re.compile(r"std::(cout|cerr|clog)|\b(?:std::)?(?:printf|puts|putchar|perror|exit|_exit|quick_exit|"
                      r"signal|sigaction|abort|terminate|getenv|setenv)\s*\(|\bfprintf\s*\(|\bassert\s*\(")
    for path in tree.sources("lib/", "format/"):
        if path in may_abort:
            continue
        for number, line in enumerate(code_only(tree.text(path)).splitlines(), 1):
            for word in (found.group().rstrip("( ") for found in loud.finditer(line)):
                if (path, word) != (may_handle, "sigaction"):
                    yield f"{path}:{number}: `{word}` is not for {path.split('/')[0]}"


@check("reinterpret_cast only where bytes become values")
def casts(tree):
    # Looking at values as bytes, or at an address as a number, is harmless everywhere.
    harmless = r"reinterpret_cast<((const )?(char|unsigned char|std::byte|std::uint8_t)\*|std::uintptr_t)>"
    allowed = re.compile(r"format/le\.h|format/plain_tensors\.cc|format/cairn/index_view\.cc|lib/os/mapping\w*\.(h|cc)|"
                         r"lib/include/cairn/tensor\.h")
    for path in tree.sources("lib/", "format/", "tools/"):
        for number, line in enumerate(code_only(tree.text(path)).splitlines(), 1):
            if "reinterpret_cast" in re.sub(harmless, "", line) and not allowed.fullmatch(path):
                yield f"{path}:{number}: reinterpret_cast belongs to format/le.h, lib/os/mapping and cairn/tensor.h"


HOSTS = {"github.com", "www.w3.org", "www.apache.org", "keepachangelog.com", "semver.org", "www.tensorflow.org", "huggingface.co",
         "localhost"}


@check("the repository speaks of itself alone")
def foreign_words(tree):
    for path in tree.texts() + [f for f in tree.files if f == "LICENSE"]:
        if path.startswith("tests/tidy/"):
            continue
        roots = r"/(?:work|root|home|mnt)/\w" if path.startswith("tests/") else r"/(?:work|root|home|mnt|tmp)/\w"
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if found := re.search(rf"(?<![\w.$}}~-]){roots}+", line):
                yield f"{path}:{number}: `{found.group()}` is a path of one machine"
            for host in re.findall(r"https?://([\w.-]+)", line):
                if host not in HOSTS:
                    yield f"{path}:{number}: a link to {host}"


@check("sources are laid out by clang-format")
def layout(tree):
    program = shutil.which("clang-format-19")
    if not program:
        raise Skip("clang-format-19 is not installed")
    if not tree.sources():
        return
    command = [program, "--dry-run", "--Werror", *tree.sources()]
    done = subprocess.run(command, cwd=tree.root, capture_output=True, text=True)
    for path in dict.fromkeys(re.findall(r"^(.+?):\d+:\d+: error", done.stderr, re.M)):
        yield f"{path}:1: run ./dev format"


# --- promises -------------------------------------------------------------------------------------------------------

GOLDEN = "tests/golden/"
MANIFEST = GOLDEN + "MANIFEST.sha256"
SYMBOLS = "tests/tidy/exported_symbols.txt"
ORDER = "lib/order.ld"


def format_version(tree):
    return re.search(r"kIndexVersion = (\d+)", tree.text("format/cairn/index.h")).group(1)


def golden_sums(tree):
    sums = {}
    for path in tree.files:
        if path.startswith(GOLDEN) and path != MANIFEST and not path.endswith(".md"):
            with open(f"{tree.root}/{path}", "rb") as file:
                sums[path.removeprefix(GOLDEN)] = hashlib.sha256(file.read()).hexdigest()
    return sums


def golden_recorded(tree):
    """The version and the sums of the manifest."""
    if MANIFEST not in tree.files:
        return None, {}
    first, *lines = tree.text(MANIFEST).splitlines()
    return first.removeprefix("# format version "), {line[66:]: line[:64] for line in lines}


@check("golden files are as recorded for this format version")
def golden(tree):
    sums, (version, recorded) = golden_sums(tree), golden_recorded(tree)
    if version is None and not sums:
        raise Skip("there is no golden file yet")
    if version is None or version != format_version(tree):
        yield f"{MANIFEST}:1: recorded for format version {version}, the code has {format_version(tree)}"
    for name in sorted(sums.keys() | recorded.keys()):
        if name not in recorded:
            yield f"{GOLDEN}{name}:1: not in the manifest; ./dev tidy --bless adds it"
        elif name not in sums:
            yield f"{GOLDEN}{name}:1: in the manifest, but gone"
        elif sums[name] != recorded[name]:
            yield f"{GOLDEN}{name}:1: changed, and the format version did not move"


def bless_golden(tree):
    sums, (version, recorded) = golden_sums(tree), golden_recorded(tree)
    changed = sorted(name for name in recorded if sums.get(name) != recorded[name])
    if changed and version == format_version(tree):
        sys.exit(f"tidy: not blessed: {', '.join(changed)} changed or went, and the format version did not move")
    lines = [f"# format version {format_version(tree)}", *(f"{sums[n]}  {n}" for n in sorted(sums))]
    write(tree, MANIFEST, lines)


def exported(tree):
    """All that libcairn.so exports, demangled."""
    library = f"{tree.build}/lib/libcairn.so"
    if not tree.build or not os.path.exists(library):
        raise Skip("libcairn.so is not built")
    if not shutil.which("nm"):
        raise Skip("nm is not installed")
    done = subprocess.run(["nm", "-D", "-C", "--defined-only", library], capture_output=True, text=True, check=True)
    return sorted({line.split(" ", 2)[2] for line in done.stdout.splitlines()})


@check("the shared library exports what is recorded")
def symbols(tree):
    now = set(exported(tree))
    recorded = set(tree.text(SYMBOLS).splitlines()) if SYMBOLS in tree.files else set()
    for name in sorted(now - recorded):
        yield f"{SYMBOLS}:1: exported but not recorded: {name}"
    for name in sorted(recorded - now):
        yield f"{SYMBOLS}:1: recorded but not exported: {name}"


@check("the functions that an open runs are still those of the library")
def ordered(tree):
    """Another compiler splits functions in another way, so some may be missing."""
    library = f"{tree.build}/lib/libcairn.so"
    if not tree.build or not os.path.exists(library) or ORDER not in tree.files:
        raise Skip("libcairn.so is not built")
    if not shutil.which("nm"):
        raise Skip("nm is not installed")
    done = subprocess.run(["nm", library], capture_output=True, text=True)
    known = {line.split()[-1] for line in done.stdout.splitlines()}
    if not known:
        raise Skip("libcairn.so is stripped")
    names = re.findall(r"\(\.text\.(\S+)\)", tree.text(ORDER))
    missing = [name for name in names if name not in known]
    if 4 * len(missing) > len(names):
        yield f"{ORDER}:1: {len(missing)} of {len(names)} functions are not in libcairn.so; run ./dev order"


def write(tree, path, lines):
    os.makedirs(os.path.dirname(f"{tree.root}/{path}"), exist_ok=True)
    with open(f"{tree.root}/{path}", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def bless(tree):
    bless_golden(tree)
    try:
        write(tree, SYMBOLS, exported(tree))
    except Skip as why:
        print(f"tidy: exported symbols not renewed: {why}")


def judge(name, function, tree):
    """Runs one check: "passed", "failed" or "skipped"."""
    try:
        found = list(function(tree))
    except Skip as why:
        print(f"tidy: {name}: skipped: {why}")
        return "skipped"
    print(f"tidy: {name}: {'failed' if found else 'passed'}", *found, sep="\n  ")
    return "failed" if found else "passed"


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--root", default=os.path.dirname(os.path.dirname(here)))
    arguments.add_argument("--build")
    arguments.add_argument("--bless", action="store_true")
    options = arguments.parse_args()
    tree = Tree(options.root, options.build)
    if options.bless:
        return bless(tree)
    verdicts = [judge(name, function, tree) for name, function in CHECKS]
    print(", ".join(f"{verdicts.count(v)} {v}" for v in ("passed", "failed", "skipped")))
    return 1 if "failed" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
