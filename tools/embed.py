"""Writes a C++ source file that holds other files' bytes: embed.py OUTPUT INPUT...

The table it defines is declared in walk_files.h.
"""

import os
import sys


def literal(data):
    """The bytes as a C++ string literal, cut into lines that a person could scroll through."""
    lines = []
    for start in range(0, len(data), 24):
        octal = "".join("\\%03o" % byte for byte in data[start : start + 24])
        lines.append('     "%s"' % octal)
    return "\n".join(lines) or '     ""'


def main():
    output, inputs = sys.argv[1], sys.argv[2:]
    with open(output, "w", encoding="ascii") as out:
        out.write('#include "walk_files.h"\n\nnamespace cairn::tools {\nnamespace {\n\n')
        out.write("using namespace std::string_view_literals;\n\n")
        out.write("constexpr WalkFile kFiles[] = {\n")
        for path in inputs:
            with open(path, "rb") as file:
                data = file.read()
            out.write('    {"%s"sv,\n%s\n     ""sv},\n' % (os.path.basename(path), literal(data)))
        out.write("};\n\n}  // namespace\n\n")
        out.write("std::span<const WalkFile> walk_files() { return kFiles; }\n\n")
        out.write("}  // namespace cairn::tools\n")


main()
