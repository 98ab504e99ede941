"""Each house rule can fail: every check is run over a small tree that keeps the rules, and over ones that break it."""
import os
import shutil
import subprocess
import sys
import tempfile

import tidy

CLEAN = {
    "meson.build": "subdir('lib')\n",
    "format/cairn/index.h": '#pragma once\n\n#include "cairn/error.h"\n\nconstexpr int kIndexVersion = 1;\n',
    "format/meson.build": "'cairn/index.cc'\n",
    "format/cairn/index.cc": '#include "format/cairn/index.h"\n',
    "lib/include/cairn/cairn.h": '#pragma once\n\n#include "cairn/error.h"\n',
    "lib/include/cairn/error.h": "#pragma once\n",
    "lib/meson.build": "'os/file.cc', 'read/checkpoint.cc', 'include/cairn/cairn.h', 'include/cairn/error.h'\n",
    "lib/os/file.h": "#pragma once\n",
    "lib/os/file.cc": '#include "lib/os/file.h"\n\n#include <fcntl.h>\n',
    "lib/read/checkpoint.cc": '#include "format/cairn/index.h"\n#include "lib/os/file.h"\n',
    "tools/meson.build": "'main.cc'\n",
    "tools/main.cc": '#include "cairn/cairn.h"\n\nint main() { return 0; }\n',
    "lib/order.ld": "*(.text._Z3onev)\n*(.text._Z3twov)\n",
    "tests/golden/one": "golden bytes\n",
}

LONG_BODY = "void long_one(int count) {\n" + "  f();\n" * 70 + "}\n"

# Which check, and the files that must make it fail.
BREAKS = [
    ("includes follow", {"tools/main.cc": '#include "lib/os/file.h"\n'}),
    ("includes follow", {"format/cairn/index.cc": '#include "lib/os/file.h"\n'}),
    ("includes follow", {"lib/os/file.cc": '#include "format/cairn/index.h"\n'}),
    ("includes follow", {"lib/read/checkpoint.cc": '#include "lib/open/x.h"\n', "lib/open/x.h": ""}),
    ("includes follow", {"lib/include/cairn/error.h": '#include "lib/os/file.h"\n'}),
    ("a header from outside", {"format/cairn/index.cc": "#include <unistd.h>\n"}),
    ("a header from outside", {"lib/read/checkpoint.cc": "#include <sys/mman.h>\n"}),
    ("a header from outside", {"lib/read/checkpoint.cc": "#include <flatbuffers/flatbuffers.h>\n"}),
    ("a header from outside", {"lib/os/file.cc": "#include <fmt/core.h>\n"}),
    ("a header from outside", {"format/cairn/index.cc": "#include <filesystem>\n"}),
    ("a header from outside", {"lib/include/cairn/error.h": "#include <boost/config.hpp>\n"}),
    ("no cycle", {"lib/os/file.h": '#include "lib/os/b.h"\n', "lib/os/b.h": '#include "lib/os/file.h"\n'}),
    ("no cycle", {"lib/os/file.h": '#include "file.h"\n'}),
    ("no file is too long", {"lib/os/file.cc": "\n" * 601}),
    ("no file is too long", {"tests/unit/file_test.cc": "\n" * 801}),
    ("no file is too long", {"lib/include/cairn/error.h": "\n" * 251}),
    ("no line is too long", {"lib/os/file.cc": "//" + "x" * 99 + "\n"}),
    ("no function is too long", {"lib/os/file.cc": LONG_BODY}),
    ("no function is too long", {"lib/os/file.cc": "namespace a {\nclass B {\n" + LONG_BODY + "};\n}\n"}),
    ("each header opens", {"lib/os/file.h": "// Files.\n#pragma once\n"}),
    ("no dead file", {"lib/os/other.h": "#pragma once\n"}),
    ("no dead file", {"lib/os/other.cc": ""}),
    ("no dead file", {"tools/precompiled/other.h": ""}),
    ("the umbrella", {"lib/include/cairn/other.h": "#pragma once\n"}),
    ("each public header", {"lib/meson.build": "'os/file.cc', 'read/checkpoint.cc', 'include/cairn/cairn.h'\n"}),
    ("the example", {"README.md": "other\n",
                     "tests/api/readme_example.cc": "  // README begins\n  one();\n  // README ends\n"}),
    ("each test that a page names", {"docs/x.md": "[a_test.cc](../tests/unit/a_test.cc): a promise; and more\n"}),
    ("each test that a page names", {"docs/x.md": "| [a_test.cc](../tests/unit/a_test.cc): a promise |\n",
                                     "tests/unit/a_test.cc": 'TEST_CASE("another promise") {}\n'}),
    ("each test that a page names", {"docs/x.md": "- [a_test.cc](../tests/unit/a_test.cc): a promise; another one.\n",
                                     "tests/unit/a_test.cc": 'TEST_CASE("a promise") {}\n'}),
    ("each test that a page names", {"docs/x.md": "[c.py](../tests/cli/c.py).\n"}),
    ("each guarantee", {"docs/GUARANTEES.md": "## Promised\n\n**All is well.** It is.\n\n- [c.py](../tests/c.py)\n\n"
                                              "**So it stays.** It does.\n\n## Assumed\n", "tests/c.py": ""}),
    ("each test that a page names", {"docs/x.md": "[b.py](../tests/cli/b.py): test_b\n",
                                     "tests/cli/b.py": "def test_c(): pass\n"}),
    ("no TODO", {"lib/os/file.cc": "// TODO: later\n"}),
    ("no TODO", {"tools/main.cc": "// FIXME(somebody): later\n"}),
    ("lib and format neither", {"lib/os/file.cc": 'void f() { std::cout << "x"; }\n'}),
    ("lib and format neither", {"lib/os/file.cc": "void f() { std::abort(); }\n"}),
    ("lib and format neither", {"format/cairn/index.cc": "void f() { exit(1); }\n"}),
    ("lib and format neither", {"lib/os/file.cc": "void f() { sigaction(1, 0, 0); }\n"}),
    ("lib and format neither", {"lib/os/file.cc": 'void f() { getenv("HOME"); }\n'}),
    ("lib and format neither", {"lib/os/sigbus_guard.cc": "void f() { sigaction(1, 0, 0); signal(1, g); }\n"}),
    ("lib and format neither", {"lib/os/sigbus_guard.cc": "void f() { std::abort(); }\n"}),
    ("includes follow", {"lib/c/x.cc": '#include "lib/os/file.h"\n'}),
    ("includes follow", {"lib/os/file.cc": '#include "cairn/c.h"\n', "lib/c/include/cairn/c.h": ""}),
    ("no dead file", {"tests/c/other.c": ""}),
    ("includes follow", {"lib/os/file.cc": '#include "cairn/saver.h"\n', "lib/include/cairn/saver.h": ""}),
    ("a header from outside", {"lib/read/checkpoint.cc": "#include <signal.h>\n"}),
    ("a header from outside", {"lib/read/checkpoint.cc": "#include <csignal>\n"}),
    ("reinterpret_cast", {"lib/os/file.cc": "int* p = reinterpret_cast<int*>(q);\n"}),
    ("the repository speaks", {"lib/os/file.cc": "// see /home/me/notes\n"}),
    ("the repository speaks", {"README.md": "it lies in /tmp/x\n"}),
    ("the repository speaks", {"README.md": "from http://packages.example/simple\n"}),
    ("sources are laid out", {"lib/os/file.cc": "int  x ;\n"}),
    ("golden files", {"tests/golden/one": "other bytes\n"}),
    ("golden files", {"tests/golden/two": "new\n"}),
    ("golden files", {"tests/golden/one": None}),
    ("golden files", {"format/cairn/index.h": "constexpr int kIndexVersion = 2;\n"}),
    ("the shared library", {"tests/tidy/exported_symbols.txt": "one()\n"}),
    ("the shared library", {"tests/tidy/exported_symbols.txt": "one()\nthree()\ntwo()\n"}),
    ("the functions that an open", {"lib/order.ld": "*(.text._Z3onev)\n*(.text._Z5threev)\n"}),
]

# What looks like a breach and is none.
KEEPS = [
    ("lib and format neither", {"lib/os/file.cc": '// never abort(), never exit().\nauto s = "exit(1)";\n'}),
    ("lib and format neither", {"lib/os/file.cc": "void on_exit_(int); // std::cout\n"}),
    ("lib and format neither", {"lib/os/sigbus_guard.cc": "void f() { ::sigaction(1, 0, 0); }\n"}),
    ("includes follow", {"lib/os/sigbus_guard.cc": '#include "cairn/sigbus_guard.h"\n',
                         "lib/include/cairn/sigbus_guard.h": ""}),
    ("reinterpret_cast", {"lib/os/mapping.cc": "auto p = reinterpret_cast<int*>(q);\n"}),
    ("reinterpret_cast", {"lib/os/file.cc": "auto p = reinterpret_cast<const char*>(q);\n"}),
    ("no TODO", {"lib/os/file.cc": "// TODO(#12): later\n"}),
    ("no function is too long", {"lib/os/file.cc": "namespace {\n" + "void f() {}\n" * 80 + "}\n"}),
    ("no function is too long", {"lib/os/file.cc": "constexpr int kTable[] = {\n" + "  1,\n" * 80 + "};\n"}),
    ("the repository speaks", {"tests/unit/x_test.cc": '"/tmp/somewhere"\n'}),
]


def plant(root, files):
    for path, text in files.items():
        place = os.path.join(root, path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if text is None:
            os.remove(place)
        else:
            with open(place, "w", encoding="utf-8") as file:
                file.write(text)


def plant_clean(root):
    plant(root, CLEAN)
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.clang-format"), root)
    tree = tidy.Tree(root)
    tidy.write(tree, tidy.MANIFEST, ["# format version 1", f"{tidy.golden_sums(tree)['one']}  one"])
    plant(root, {"tests/tidy/exported_symbols.txt": "one()\ntwo()\n"})


def findings(check, files, library):
    """What the one check whose name starts so says about the clean tree with these files changed."""
    (function,) = (f for name, f in tidy.CHECKS if name.startswith(check))
    with tempfile.TemporaryDirectory() as root:
        plant_clean(root)
        plant(root, files)
        if library:
            os.makedirs(f"{root}/build/lib")
            shutil.copy(library, f"{root}/build/lib/libcairn.so")
        try:
            return list(function(tidy.Tree(root, f"{root}/build")))
        except tidy.Skip as why:
            return why


def make_library(folder):
    """A shared library that exports one() and two()."""
    if not shutil.which("c++"):
        return None
    path = f"{folder}/library.so"
    subprocess.run(["c++", "-shared", "-fPIC", "-x", "c++", "-", "-o", path], check=True,
                   input=b'void one() {}\nvoid two() {}\n__attribute__((visibility("hidden"))) void no() {}\n')
    return path


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def case(name, found, wanted):
        verdict = "skipped" if isinstance(found, tidy.Skip) else "passed" if bool(found) == wanted else "failed"
        counts[verdict] += 1
        if verdict != "passed":
            print(f"tidy self-test: {name}: {verdict}: {found}")

    with tempfile.TemporaryDirectory() as folder:
        library = make_library(folder)
        for name, _ in tidy.CHECKS:
            case(f"a clean tree passes: {name}", findings(name, {}, library), False)
            if not any(name.startswith(check) for check, _ in BREAKS):
                case(f"a tree breaks: {name}", [], True)
        for check, files in BREAKS:
            case(f"{check}… is broken by {files}", findings(check, files, library), True)
        for check, files in KEEPS:
            case(f"{check}… is kept by {files}", findings(check, files, library), False)
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
