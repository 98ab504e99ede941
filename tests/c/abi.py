"""The recorded interface of libcairn-c, and what differs from it.

usage: abi.py LIBRARY     records the interface as it is now, in tests/c/abi-1; additions only

abi-1/libcairn-c.abi is what abidw (abigail-tools) says of the functions and of the types that they reach. abi-1/c-1.0.txt is
cairn/c.h of the version 1.0, as one file without comments: old programs are compiled with it.
"""
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = f"{HERE}/abi-1/libcairn-c.abi"
# What a program of an older version does not see: functions, fields at the end of a struct, enumerators.
ADDITIONS = f"{HERE}/abi-1/additions.abignore"
PRIVATE = """
[suppress_type]
  source_location_not_regexp = {headers}
  drop = yes

[suppress_function]
  symbol_name_not_regexp = {names}
  drop = yes
"""


def dump(library, headers="include/cairn/c/", names="^cairn_"):
    """The interface of a library with debug information, as text."""
    with tempfile.NamedTemporaryFile("w", suffix=".abignore") as private:
        private.write(PRIVATE.format(headers=headers, names=names))
        private.flush()
        said = subprocess.run(["abidw", "--suppressions", private.name, "--no-corpus-path", "--no-comp-dir-path",
                               "--no-show-locs", "--no-elf-needed", library], capture_output=True, text=True, check=True)
    return reachable(said.stdout, names.removeprefix("^"))


def reachable(text, prefix):
    """Only the functions that are exported, and the types that they reach: the rest is C++ and the C library."""
    root = ElementTree.fromstring(text)
    types, functions = {}, []
    for unit in root.findall("abi-instr"):
        for item in unit.iter():
            if "id" in item.attrib:
                types.setdefault(item.get("id"), item)
            if item.tag == "function-decl" and item.get("elf-symbol-id", "").startswith(prefix):
                functions.append(item)
        root.remove(unit)
    kept, pending = {}, list(functions)
    while pending:
        for item in pending.pop().iter():
            wanted = [item.get(name) for name in ("type-id", "underlying-type", "naming-typedef-id", "type")]
            for each in wanted:
                if each in types and each not in kept:
                    kept[each] = types[each]
                    pending.append(types[each])
    unit = ElementTree.SubElement(root, "abi-instr", {"address-size": "64", "path": "cairn/c.h", "language": "LANG_C99"})
    unit.extend(kept.values())
    unit.extend(sorted({each.get("name"): each for each in functions}.values(), key=lambda each: each.get("name")))
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def fields(text):
    """Of each struct its fields in order: name, place, type."""
    root = ElementTree.fromstring(text)
    types = {item.get("id"): item for item in root.iter() if "id" in item.attrib}

    def name(of):
        item = types.get(of)
        if item is None or item.tag in ("class-decl", "enum-decl", "type-decl"):
            return of if item is None else item.get("name")
        inner = item.get("type-id") or item.get("underlying-type") or ""
        parts = [name(each.get("type-id")) for each in item if each.get("type-id")]
        return " ".join([item.tag, item.get("const", ""), item.get("name", ""), inner and name(inner), *parts])

    return {item.get("name"): [(each[0].get("name"), each.get("layout-offset-in-bits"), name(each[0].get("type-id")))
                               for each in item.findall("data-member")] for item in root.iter("class-decl")}


def differences(recorded, now):
    """What is not only added between two dumps, as text; empty: nothing."""
    before, after = fields(recorded), fields(now)
    # abidiff passes a field of another type or place as well, once fields at the end are passed.
    changed = [f"the fields of {name} are no longer {old}: {after[name]}\n" for name, old in before.items()
               if name in after and after[name][:len(old)] != old]
    return "".join(changed) + said_by_abidiff(recorded, now)


def said_by_abidiff(recorded, now):
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in (("recorded.abi", recorded), ("now.abi", now)):
            paths.append(f"{folder}/{name}")
            with open(paths[-1], "w", encoding="utf-8") as file:
                file.write(text)
        said = subprocess.run(["abidiff", "--suppressions", ADDITIONS, "--no-added-syms", *paths],
                              capture_output=True, text=True)
    if said.returncode & 3:
        raise RuntimeError(said.stdout + said.stderr)
    return said.stdout if said.returncode else ""


def one_header(folder):
    """cairn/c.h below this folder and what it includes, each once, without comments."""
    texts, seen = [], set()

    def add(name):
        if name in seen:
            return
        seen.add(name)
        with open(f"{folder}/{name}", encoding="utf-8") as file:
            text = re.sub(r"[ \t]*//[^\n]*", "", file.read()).replace("#pragma once\n", "")
        for each in re.findall(r'#include "(.*)"\n', text):
            add(each)
        texts.append(re.sub(r'#include ".*"\n', "", text))

    add("cairn/c.h")
    return "#pragma once\n" + re.sub(r"\n{2,}", "\n", "\n".join(texts))


def main(library):
    now = dump(library)
    version = "abi-1/c-1.0.txt"
    if not os.path.exists(f"{HERE}/{version}"):
        with open(f"{HERE}/{version}", "w", encoding="utf-8") as file:
            file.write(one_header(os.path.normpath(f"{HERE}/../../lib/c/include")))
    if os.path.exists(RECORD):
        with open(RECORD, encoding="utf-8") as file:
            if changed := differences(file.read(), now):
                sys.exit(f"{changed}\nabi.py: not recorded: this is more than additions")
    with open(RECORD, "w", encoding="utf-8") as file:
        file.write(now)


if __name__ == "__main__":
    main(*sys.argv[1:])
