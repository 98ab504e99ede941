"""Every snippet of the pages is run: C++, C, Python and shell, and what a page shows as output is compared.

usage: run.py BUILD [PAGE…]      a build folder; some pages (docs/start.md), or all

A page is read from top to bottom in a directory of its own. There are copies of `saved` and `tf_ckpts`, which TensorFlow
wrote (GOLDEN), and `tests` and `examples` lead to those of the repository. `cairn`, `c++`, `pkg-config` and `python3` find
what BUILD has. The blocks of a page share their state:

- `console`: lines that begin with `$ ` are commands, the others are what they print.
- `sh`: a script.
- `cpp`, `c`: a program, if it has a main(); its first line is a comment with its file name. Otherwise statements: those of
  one page are one function, which waits between two blocks. All pages together are one program of each language.
- `python`: statements; those of one page share their variables. Without the extension they are skipped.
- `text` behind `sh`, `cpp`, `c` or `python`: what the block prints. `…` stands for anything, also for several lines.
- A line in italics before a block, `*Not run by the tests: why.*`, is the only way to leave one out.

Pages whose snippets another suite runs are in ELSEWHERE.
"""
import ast
import contextlib
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
ELSEWHERE = {"docs/install.md": "tests/install", "docs/c.md": "tests/c", "examples/engines/": "./dev, with packages of PyPI"}
GOLDEN = {"saved": "tensorflow/saver_walk/saved", "tf_ckpts": "tensorflow/tf2_manager/tf_ckpts"}
# What a page takes for granted besides, or a block, which is named by its first command.
IN_ORDER = "n=0; for p in train1 train2-5 train2-6 train2-7 train2-8 train2-9; do touch -d @$((1600000000 + ++n)) saved/$p.*; done;"
SMALL_MODEL = """python3 -c '
import ml_dtypes, numpy
numpy.save("a.npy", numpy.ones((2, 2), "float32")), numpy.save("b.npy", numpy.ones(3, ml_dtypes.bfloat16))'
cairn save small a=a.npy b=b.npy
cairn convert small model.safetensors --to safetensors"""
FLIP = """printf '\\001' | dd of=saved/train1.data-00000-of-00001 bs=1 seek=2 conv=notrunc status=none"""
BEFORE = {
    "README.md": "cairn save a/encoder e:int32=1; cairn save b/decoder d:int32=2",
    "cairn ls m.npz": """python3 -c 'import ml_dtypes, numpy
numpy.savez("m.npz", w=numpy.array([1, -2, 0.5], ml_dtypes.float8_e4m3fn))'""",
    "cairn cat saved v1": "cp -r tests/golden/tensorflow/dtypes .",
    "cairn verify saved/train2-9": FLIP,
    "cairn salvage saved/train1 rescued/train1": FLIP,
    "cairn import model.safetensors --to tensorflow": SMALL_MODEL,
    "cairn import model.gguf": "cp tests/golden/gguf/types.gguf model.gguf",
    "cairn convert model.ckpt": "cp tests/golden/pytorch/nested.pth model.ckpt",
    "cairn convert model.safetensors smaller": SMALL_MODEL,
    "cairn merge m-7_temp/part-00000-of-00002": """for i in 0 1; do cairn save m-7_temp/part-0000$i-of-00002 part$i:int32=$i; done
rm m-7_temp/*.cairn""",
    "cairn latest saved": "truncate -s 5 saved/train2-9.data-00000-of-00001",
    "rm saved/checkpoint": f"rm saved/checkpoint.*; truncate -s 5 saved/train2-9.data-00000-of-00001; {IN_ORDER}",
    "cairn pin saved/train2-6": IN_ORDER,
}
APART = ("docs/cli.md",)  # each block of these begins with the same files
RUN = ("console", "sh", "cpp", "c", "python")
SHOWN = ("text", "cmake", "meson", "json")
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.M | re.S)
LEFT_OUT = re.compile(r"\*Not run by the tests: [^*]+\.\*\s*\Z")
OPTIONAL = ("torch", "tensorflow")  # blocks that import them are skipped without them
LEFT_OUT_MAX = 8  # of all pages: few
SECONDS = 60
HEAD = {"cpp": '#include <cairn/cairn.h>\n#include <cstdio>\n#include <cstdlib>\n#include <string>\n',
        "c": '#include <cairn/c.h>\n#include <stdio.h>\n#include <stdlib.h>\n'}
COMPLAIN = {"cpp": 'static int complain(const std::string& what) { std::printf("%s\\n", what.c_str()); return 1; }\n',
            "c": 'static int complain(const char* what) { printf("%s\\n", what); return 1; }\n'}
PAUSE = "static void pause_here(void) { putchar(1); fflush(stdout); if (getchar() == EOF) exit(0); }\n"
FLAGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused", "-fmax-errors=3", "-g0", "-O0"]


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Block:
    def __init__(self, page, line, language, text, before):
        self.page, self.line, self.language, self.text = page, line, language, text
        self.left_out = bool(LEFT_OUT.search(before))
        self.expected = None

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def statements(self):
        return self.language in ("cpp", "c") and not re.search(r"^int main\(", self.text, re.M)


def pages():
    """The pages for readers: not the tests' own, not records of decisions and figures."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "*.md"], capture_output=True,
                            text=True)
    names = listed.stdout.split() if listed.returncode == 0 else [str(p.relative_to(ROOT)) for p in ROOT.rglob("*.md")]
    return sorted(name for name in names if "/" not in name or name.startswith(("docs/", "examples/", "python/", "format/")))


def blocks_of(page):
    text = (ROOT / page).read_text()
    blocks, end = [], 0
    for match in BLOCK.finditer(text):
        between = text[end:match.start()]
        block = Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2], between)
        end = match.end()
        behind = blocks and blocks[-1].language in RUN and len(between.strip().splitlines()) < 2
        if block.language == "text" and behind and blocks[-1].expected is None and blocks[-1].language != "console":
            blocks[-1].expected = block.text
            continue
        blocks.append(block)
    return blocks


def compare(expected, printed):
    """Fails if what was printed is not what the page shows."""
    wanted = "\n".join(line.rstrip() for line in expected.rstrip().splitlines())
    got = "\n".join(line.rstrip() for line in printed.rstrip().splitlines())
    pattern = ".*?".join(re.escape(part) for part in wanted.split("…"))
    if not re.fullmatch(pattern, got, re.S):
        raise Failed(f"the page shows\n{wanted}\nand this is printed:\n{got}")


class Machine:
    """What all pages use: the command, compilers and Python, and the program of all statements."""

    def __init__(self, build, folder, blocks):
        self.build, self.folder = pathlib.Path(build).resolve(), folder
        tools = folder / "bin"
        tools.mkdir()
        (tools / "cairn").symlink_to(self.build / "tools/cairn")
        python = tools / "python3"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        for name, headers, libraries, flags in (("cairn", "lib/include", "lib", "-std=c++20 "),
                                                ("cairn-c", "lib/c/include", "lib/c", "")):
            (tools / f"{name}.pc").write_text(f"Name: {name}\nDescription: not installed\nVersion: 0\n"
                                              f"Cflags: {flags}-I{ROOT / headers}\nLibs: -L{self.build / libraries} -l{name}\n")
        self.environment = {
            **os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
            "PKG_CONFIG_PATH": str(tools),
            "LD_LIBRARY_PATH": f"{self.build}/lib{os.pathsep}{self.build}/lib/c", "CAIRN_PAGES": "tests"}
        self.made = {language: self._start(language, [b for b in blocks if b.language == language and b.statements])
                     for language in ("cpp", "c")}

    def _start(self, language, blocks):
        """Compiles the statements of all pages, while the first pages run."""
        numbers, heads, functions = {}, set(), []
        for page in sorted({block.page for block in blocks}):
            body = ""
            for block in (block for block in blocks if block.page == page and not block.left_out):
                lines = block.text.splitlines()
                heads |= {line for line in lines if line.startswith("#include")}
                code = "\n".join("" if line.startswith("#include") else line for line in lines)
                body += f'#line {block.line + 1} "{page}"\n{code}\npause_here();\n'
            numbers[page] = len(functions)
            functions.append(f"static int page_{len(functions)}(void) {{\n{body}return 0;\n}}\n")
        cases = "".join(f"    case {number}: return page_{number}();\n" for number in numbers.values())
        source = self.folder / f"statements.{language if language == 'c' else 'cc'}"
        source.write_text(HEAD[language] + "\n".join(sorted(heads)) + "\n" + COMPLAIN[language] + PAUSE + "".join(functions)
                          + f'#line 1 "main"\nint main(int count, char** words) {{\n  if (count != 2) return 2;\n'
                          f"  switch (atoi(words[1])) {{\n{cases}    default: return 2;\n  }}\n}}\n")
        package, compiler = ("cairn-c", "cc -std=c99") if language == "c" else ("cairn", "c++ -std=c++20")
        program = self.folder / f"statements-{language}"
        command = f"{compiler} {source} -o {program} {' '.join(FLAGS)} $(pkg-config --cflags --libs {package})"
        process = subprocess.Popen(["sh", "-c", command], env=self.environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        return numbers, program, process

    def program(self, language):
        numbers, program, process = self.made[language]
        said = process.communicate()[0] if process.returncode is None else ""
        if process.returncode:
            raise Failed(f"the statements of the pages do not compile:\n{said}")
        return numbers, program


class Page:
    """One page while it is read."""

    def __init__(self, machine, name, extension):
        self.machine, self.name = machine, name
        self.folder = machine.folder / name.replace("/", "+")
        if name.startswith("examples/"):  # the snippets run where the example is
            shutil.copytree((ROOT / name).parent, self.folder)
        else:
            self.folder.mkdir()
        for linked in ("tests", "examples"):
            (self.folder / linked).symlink_to(ROOT / linked)
        for made, golden in GOLDEN.items():
            shutil.copytree(ROOT / "tests/golden" / golden, self.folder / made, copy_function=shutil.copyfile)
        self.variables = {"__name__": "__main__"} if extension else None
        self.running = {}
        self.prepare(name)

    def prepare(self, name):
        """Makes what the page or the block takes for granted."""
        for beginning, script in BEFORE.items():
            if name.startswith(beginning):
                self._needs_python(script)
                self._shell(script, check=True)

    def run(self, block):
        getattr(self, f"_{block.language}")(block)

    def close(self):
        for process in self.running.values():
            process.communicate()
        shutil.rmtree(self.folder)

    def _shell(self, script, check):
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, env=self.machine.environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
        if check and done.returncode:
            raise Failed(f"exit status {done.returncode}\n{done.stdout}")
        return done.stdout

    def _console(self, block):
        if not block.text.startswith("$ "):
            raise Failed("a console block begins with '$ '")
        for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
            command = re.match(r"(?:.*\\\n)*.*\n", part)[0]
            shown = part[len(command):]
            self._needs_python(command)
            compare(shown, self._shell(command, check=False))

    def _sh(self, block):
        self._needs_python(block.text)
        printed = self._shell(f"set -euo pipefail\n{block.text}", check=True)
        if block.expected is not None:
            compare(block.expected, printed)

    def _needs_python(self, script):
        if re.search(r"\bpython3\b", script) and self.variables is None:
            raise Skipped("cairn_store was not built")

    def _cpp(self, block):
        if not block.statements:
            named = re.match(r"(?://|/\*) (\S+)", block.text)
            if not named:
                raise Failed("a program begins with a comment that names its file")
            (self.folder / named[1]).write_text(block.text)
            return
        language = block.language
        if language not in self.running:
            numbers, program = self.machine.program(language)
            self.running[language] = subprocess.Popen(
                [program, str(numbers[self.name])], cwd=self.folder, env=self.machine.environment, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        else:
            self._go_on(self.running[language])
        printed = b""
        while (byte := self.running[language].stdout.read(1)) not in (b"\1", b""):
            printed += byte
        text = printed.decode(errors="replace")
        if byte == b"":
            raise Failed(f"the statements ended:\n{text}")
        if block.expected is not None:
            compare(block.expected, text)

    _c = _cpp

    def _go_on(self, process):
        process.stdin.write(b"\n")
        process.stdin.flush()

    def _python(self, block):
        if self.variables is None:
            raise Skipped("cairn_store was not built")
        code = "\n" * block.line + block.text
        before, out = os.getcwd(), io.StringIO()
        os.chdir(self.folder)
        try:
            with contextlib.redirect_stdout(out):
                exec(compile(ast.parse(code, block.page), block.page, "exec"), self.variables)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            if isinstance(error, ModuleNotFoundError) and error.name in OPTIONAL:
                raise Skipped(f"{error.name} is not installed") from error
            raise Failed(traceback.format_exc(limit=-2)) from error
        finally:
            os.chdir(before)
        if block.expected is not None:
            compare(block.expected, out.getvalue())


def unknown(block):
    if block.language in RUN:
        return None
    if block.language in SHOWN:
        return None
    return f"{block}: a block of '{block.language}': use one of {', '.join((*RUN, *SHOWN))}"


# What must not pass: language, text, and what the page would show.
WRONG = [("console", "$ echo one\ntwo\n", None), ("console", "$ cairn ls nowhere\n", None), ("sh", "false\n", None),
         ("sh", "echo one\n", "two\n"), ("cpp", "int main() {}\n", None), ("python", "1 / 0\n", None),
         ("python", "print('one')\n", "… two\n")]
WRONG_SITE = {"a.html": """<script src="//elsewhere/x.js"></script> <a href="b.html#there">a place that is not
              there</a> <a href="c.html">a page that is not there</a> <a href="b.html#here">right</a>""",
              "b.html": '<h1 id="here">B</h1>', "x.css": "@font-face { src: url(//elsewhere/x.woff) }"}


def controls(machine, extension):
    """Sentences for each wrong snippet that passes, and for what the check of the site does not find."""
    missed = []
    page = Page(machine, "controls", extension)
    for language, text, expected in WRONG:
        block = Block("controls", 0, language, text, "")
        block.expected = expected
        with contextlib.suppress(Failed, Skipped):
            page.run(block)
            missed.append(f"controls: this passes, and is wrong: {text}")
    page.close()
    sys.path.append(str(ROOT / "docs/site"))
    from check import problems_of
    with tempfile.TemporaryDirectory() as site:
        for name, text in WRONG_SITE.items():
            pathlib.Path(site, name).write_text(text)
        problems, _ = problems_of(site)
    return missed + ([] if len(problems) == 4 else [f"controls: docs/site/check.py finds only {problems}"])


def dead_links(names):
    """Links of the pages that lead to no file of the repository. Places inside a page are checked by ./dev site."""
    for name in names:
        text = BLOCK.sub("", (ROOT / name).read_text())
        text = re.sub(r"`[^`\n]+`|^ {4}.*$", "", text, flags=re.M)
        for target in re.findall(r"\]\(([^()\s]+)\)", text):
            path = target.partition("#")[0]
            if path and not re.match(r"[a-z]+:", path) and not (ROOT / name).parent.joinpath(path).exists():
                yield f"{name}: the link {target} leads nowhere"


def has_python(build, folder):
    """Whether the package can be used here; why not, otherwise."""
    extension = pathlib.Path(build, "python/_cairn.abi3.so")
    if not extension.exists():
        return "cairn_store was not built (-Dpython=enabled, and nanobind from PyPI)"
    try:
        import numpy  # noqa: F401
    except ImportError:
        return "there is no .venv with numpy and safetensors (PyPI could not be reached)"
    sys.path.insert(0, str(ROOT / "tests/python"))
    from run import stage
    stage(str(folder / "python"), str(extension))
    return None


def main(build, *wanted):
    venv = ROOT / ".venv/bin/python"
    if venv.exists() and "CAIRN_PAGES" not in os.environ:
        os.execve(venv, [venv, *sys.argv], {**os.environ, "CAIRN_PAGES": "inside"})
    found = {name: blocks_of(name) for name in pages()}
    problems = [problem for blocks in found.values() for block in blocks if (problem := unknown(block))]
    problems += dead_links(found)
    left_out = [block for blocks in found.values() for block in blocks if block.left_out]
    if len(left_out) > LEFT_OUT_MAX:
        problems.append(f"{len(left_out)} blocks are not run, more than {LEFT_OUT_MAX}: {', '.join(map(str, left_out))}")
    passed, failed, skipped = 0, len(problems), 0
    print(*problems, sep="\n", end="\n" if problems else "")
    names = [name for name in found if not name.startswith(tuple(ELSEWHERE)) and (not wanted or name in wanted)]
    with tempfile.TemporaryDirectory(prefix="cairn-pages-") as scratch:
        folder = pathlib.Path(scratch)
        why = has_python(build, folder)
        if why:
            print(f"docs: skipped: blocks with Python: {why}")
        machine = Machine(build, folder, [block for name in names for block in found[name]])
        missed = controls(machine, not why)
        print(*missed, sep="\n", end="\n" if missed else "")
        failed += len(missed)
        for name in sorted(names, key=lambda name: any(block.statements for block in found[name])):
            page, skipping = Page(machine, name, not why), False
            for block in (block for block in found[name] if block.language in RUN and not block.left_out):
                try:
                    if skipping:
                        raise Skipped("an earlier block of the page was not run")
                    if name in APART:
                        page.close()
                        page = Page(machine, name, not why)
                        page.prepare(block.text.removeprefix("$ "))
                    page.run(block)
                    passed += 1
                except Skipped as reason:
                    if name in APART:
                        skipped += 1
                        continue
                    if not skipping and not why:
                        print(f"docs: skipped: {block}: {reason}")
                    skipped, skipping = skipped + 1, True
                except (Failed, subprocess.TimeoutExpired) as error:
                    print(f"{block}: {error}")
                    failed += 1
                    if name not in APART:
                        break
            page.close()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
