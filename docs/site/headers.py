"""The reference of C++ and C: a page of Markdown for each public header, made of its declarations and comments.

libclang says where each declaration begins and ends. The text is the header's own, as clang-format has laid it out: the
comment above a declaration is its description.
"""
import html
import pathlib
import re
from dataclasses import dataclass, field
from types import SimpleNamespace

from clang.cindex import Config, CursorKind, Index

LIBRARY = "libclang-19.so.19"  # of Debian's libclang1-19
LABELS = r"(?:Errors|Lifetime|Threads|Cost|Memory|Size|Effect)"
TYPES = {CursorKind.CLASS_DECL, CursorKind.CLASS_TEMPLATE, CursorKind.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION,
         CursorKind.STRUCT_DECL, CursorKind.ENUM_DECL, CursorKind.TYPEDEF_DECL, CursorKind.TYPE_ALIAS_DECL}
SHOWN = TYPES | {CursorKind.FUNCTION_DECL, CursorKind.FUNCTION_TEMPLATE, CursorKind.VAR_DECL, CursorKind.CXX_METHOD,
                 CursorKind.CONSTRUCTOR, CursorKind.CONVERSION_FUNCTION, CursorKind.FIELD_DECL,
                 CursorKind.DESTRUCTOR}
# What only the headers themselves need.
HIDDEN = {"CAIRN_API", "CAIRN_LOCAL", "CAIRN_C_API", "CAIRN_C_BEGIN", "CAIRN_C_END", "CAIRN_C_INIT"}


@dataclass
class Entry:
    """Declarations that stand together, and the comment above them."""

    first: int
    last: int
    names: list[str] = field(default_factory=list)
    cursor: object = None
    code: str = ""
    comment: str = ""
    function: bool = False


class Header:
    def __init__(self, lines):
        self.lines = lines

    def macros(self):
        """Each macro that is defined, in the form of a cursor."""
        for first, line in enumerate(self.lines, 1):
            match = re.match(r"#define (CAIRN_\w+)", line)
            if match:
                last = next(i for i in range(first, len(self.lines) + 1) if not self.lines[i - 1].endswith("\\"))
                extent = SimpleNamespace(start=SimpleNamespace(line=first, offset=sum(map(len, self.lines[:first - 1])) + first),
                                         end=SimpleNamespace(line=last))
                yield SimpleNamespace(spelling=match[1], kind=CursorKind.MACRO_DEFINITION, extent=extent,
                                      get_children=list)

    def entries(self, cursors):
        """Groups of declarations, in the order of the header."""
        groups = []
        for cursor in sorted(cursors, key=lambda one: one.extent.start.offset):
            first, last = self._begin(cursor), self._end(cursor)
            if groups and first <= groups[-1].last:  # a typedef and its struct, friends in one declaration
                groups[-1].names.append(cursor.spelling)
                continue
            name = cursor.spelling.partition("<")[0]
            code = self._code(cursor, first, last)
            comment = self._comment(first)
            if groups and first == groups[-1].last + 1 and not comment and not is_class(cursor) \
                    and not is_class(groups[-1].cursor):
                groups[-1].last, groups[-1].code = last, f"{groups[-1].code}\n{code}"
                if is_function(cursor) and not groups[-1].function:  # an alias is no name for what follows
                    groups[-1].names.insert(0, name)
                else:
                    groups[-1].names.append(name)
                groups[-1].function |= is_function(cursor)
                continue
            groups.append(Entry(first, last, [name], cursor, code, comment, is_function(cursor)))
        return groups

    def intro(self):
        """The comment at the head of the file, which belongs to no declaration."""
        text = "\n".join(self.lines[1:])
        match = re.match(r"\n*((?://.*\n)+)\n", text)
        return plain(match[1].splitlines()) if match else ""

    def _begin(self, cursor):
        first = cursor.extent.start.line
        # An attribute or a macro of ours may stand on a line of its own.
        while first > 1 and re.fullmatch(r"\s*(template <.*>|CAIRN_\w+|\[\[\w+\]\]|requires .*)", self.lines[first - 2]):
            first -= 1
        return first

    def _end(self, cursor):
        last = cursor.extent.end.line
        indent = len(self.lines[last - 1]) - len(self.lines[last - 1].lstrip())
        if "//" in self.lines[last - 1]:  # a comment behind it may go on below
            while last < len(self.lines) and re.match(rf"\s{{{indent + 4},}}//", self.lines[last]):
                last += 1
        return last

    def _code(self, cursor, first, last):
        lines = self.lines[first - 1:last]
        body = next((c for c in cursor.get_children() if c.kind == CursorKind.COMPOUND_STMT), None)
        if body is not None:
            lines = self.lines[first - 1:body.extent.start.line]
            lines[-1] = lines[-1][:body.extent.start.column - 1]
            text = re.sub(r"\s+:\s+\w+_\(.*", "", "\n".join(lines), flags=re.S)  # the initializers of a constructor
            lines = (text.rstrip() + ";").splitlines()
        elif re.fullmatch(r"\s*[^{]*\{.*\}\s*", "\n".join(lines)) and cursor.kind == CursorKind.CONSTRUCTOR:
            lines = [re.sub(r"\s*:\s.*", ";", lines[0])]
        indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        lines = [line[indent:] for line in lines]
        marked = re.match(r"CAIRN_(?:C_)?API ", lines[0])
        if marked:  # what follows is aligned with it
            lines = [lines[0][marked.end():], *(line.removeprefix(" " * marked.end()) for line in lines[1:])]
        return re.sub(r"\bCAIRN_(?:C_)?(?:API|LOCAL) ", "", "\n".join(lines))

    def _comment(self, first):
        above = []
        for line in reversed(self.lines[:first - 1]):
            if not re.match(r"\s*//", line):
                break
            above.append(line)
        above = [line for line in reversed(above) if not re.match(r"\s*// ----", line)]
        # A comment behind the declaration before is not ours.
        return "" if above and first > 1 and self._trails(first - 1 - len(above), above[0]) else plain(above)

    def _trails(self, line, first):
        return line > 0 and re.match(r"\s{20,}//", first) and "//" in self.lines[line - 1]


def is_class(cursor):
    return cursor.kind in TYPES and cursor.kind not in (CursorKind.TYPE_ALIAS_DECL, CursorKind.TYPEDEF_DECL)


def is_function(cursor):
    return cursor.kind in (CursorKind.FUNCTION_DECL, CursorKind.FUNCTION_TEMPLATE, CursorKind.CXX_METHOD)


def moves(name, members):
    """Whether these are what every class has: constructors, assignment, a destructor."""
    return set(members) <= {name, f"~{name}", "operator="}


def plain(lines):
    """The text of comment lines, without slashes."""
    text = [re.sub(r"^\s*// ?", "", line) for line in lines]
    return "\n".join(text).strip("\n")


def markdown(comment, link):
    """A comment as Markdown. Comments are nearly that: paragraphs, lists, indented code."""
    out = []
    for block in re.split(r"\n\s*\n", comment):
        lines = block.split("\n")
        # A table or code may follow its sentence at once; so may a list.
        while lines:
            kind = kind_of(lines[0])
            count = next((i for i, line in enumerate(lines) if i and not continues(kind, line)), len(lines))
            out.append(rendered(kind, lines[:count], link))
            lines = lines[count:]
    return "\n\n".join(out)


def kind_of(line):
    if re.match(r"\s{0,3}(-|\d+\.) ", line):
        return "list"
    return "code" if line.startswith("  ") else "text"


def continues(kind, line):
    if kind == "list":
        return re.match(r"\s+|- |\d+\. ", line)
    return kind_of(line) == kind


def rendered(kind, lines, link):
    if kind == "code":
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        return "\n".join(["```text" if not re.search(r"[;{]\s*(//.*)?$", "\n".join(lines), re.M) else "```cpp",
                          *(line[indent:] for line in lines), "```"])
    if kind == "list":
        items = []
        for line in lines:
            if re.match(r"\s{0,3}(-|\d+\.) ", line):
                items.append(line.strip())
            else:
                items[-1] += " " + line.strip()
        return "\n".join(re.sub(r"^(- |\d+\. )(.*)", lambda m: m[1] + prose(m[2], link), item) for item in items)
    text = " ".join(lines)
    parts = re.split(rf"(?:^|(?<=[.)] ))({LABELS}):(?: |$)", text)
    made = [prose(parts[0].strip(), link)] if parts[0].strip() else []
    made += [f"**{label}:** {prose(said.strip(), link)}".rstrip() for label, said in zip(parts[1::2], parts[2::2])]
    return "\n\n".join(made)


def prose(text, link):
    """Text with everything escaped that Markdown would act on, but for code between backticks."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return link(escaped(text))
    return "".join(f"`{part}`" if i % 2 else link(escaped(part)) for i, part in enumerate(parts))


def escaped(text):
    return re.sub(r"([\\*_\[\]#`|~])", r"\\\1", html.escape(text, quote=False))


class Reference:
    """All pages of one language. `pages` maps the name of a header to Markdown."""

    def __init__(self, root, include, head, language):
        if not Config.loaded:
            Config.set_library_file(LIBRARY)
        self.include = pathlib.Path(root, include).resolve()
        self.language = language
        self.anchors = {}
        self.parsed = {}
        standard = {"cpp": ["-xc++", "-std=c++20"], "c": ["-xc", "-std=c99"]}[language]
        unit = Index.create().parse(str(self.include / head),
                                    [*standard, f"-I{self.include}", "-Wno-pragma-once-outside-header"])
        errors = [str(found) for found in unit.diagnostics if found.severity >= 3]
        if errors:
            raise RuntimeError("the reference cannot be made: " + "; ".join(errors))
        declared = {}
        for cursor in self._shown(unit.cursor):
            declared.setdefault(cursor.location.file.name, []).append(cursor)
        for path in sorted(self.include.glob("cairn/**/*.h")):
            self._parse(path, declared.get(str(path), []))
        self.pages = {page_of(name): self._page(name) for name in self.parsed}

    def _parse(self, path, cursors):
        header = Header(path.read_text().split("\n"))
        name = str(path.relative_to(self.include))
        entries = header.entries([*cursors, *header.macros()])
        entries = [entry for entry in entries if entry.names[0] not in HIDDEN]
        if not entries and path.stem == "export":
            return
        sections = []
        for entry in entries:
            members = self._members(header, entry) if entry.cursor.kind in (
                CursorKind.CLASS_DECL, CursorKind.CLASS_TEMPLATE,
                CursorKind.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION) else []
            sections.append((entry, members))
            for known in entry.names:
                self.anchors.setdefault(known, (name, entry.names[0]))
            if is_class(entry.cursor) and not members:
                for member in entry.cursor.get_children():
                    self.anchors.setdefault(f"{entry.names[0]}::{member.spelling}", (name, entry.names[0]))
            for member in members:
                for known in member.names:
                    self.anchors.setdefault(f"{entry.names[0]}::{known}", (name, f"{entry.names[0]}::{member.names[0]}"))
        self.parsed[name] = (header, sections)

    def _shown(self, cursor):
        for child in cursor.get_children():
            if child.kind == CursorKind.NAMESPACE:
                if child.spelling == "cairn":
                    yield from self._shown(child)
            elif child.kind in SHOWN and child.location.file and child.location.file.name.startswith(str(self.include)):
                if is_class(child) and not child.is_definition():
                    continue
                if child.kind == CursorKind.FUNCTION_DECL and child.spelling.endswith("_init"):
                    continue
                if child.semantic_parent != child.lexical_parent:
                    continue  # the definition of a member, which its class has declared
                yield child

    def _members(self, header, entry):
        public = [child for child in entry.cursor.get_children()
                  if child.kind in SHOWN and str(child.access_specifier).endswith("PUBLIC")]
        return [group for group in header.entries(public) if group.comment or not moves(entry.names[0], group.names)]

    def _page(self, name):
        header, sections = self.parsed[name]
        here = f"reference/{self.language}/{page_of(name)}"
        self.used = set()
        out = [f"# {name}", f"```{self.language}\n#include <{name}>\n```"]
        if header.intro():
            out.append(markdown(header.intro(), self._linker(here)))
        for entry, members in sections:
            out += self._section(entry, entry.names[0], "##", here, bool(members))
            for member in members:
                out += self._section(member, f"{entry.names[0]}::{member.names[0]}", "###", here, False)
        return "\n\n".join(out) + "\n"

    def _section(self, entry, title, level, here, opened):
        place = anchor(title)
        while place in self.used:  # an overload with a comment of its own
            place += "-"
        self.used.add(place)
        out = [f"{level} {escaped(title)} {{#{place}}}"]
        if not opened:
            out.append(f"```{self.language}\n{entry.code}\n```")
        if entry.comment:
            out.append(markdown(entry.comment, self._linker(here)))
        return out

    def _linker(self, here):
        def link(text):
            def found(match):
                name = match[0].replace("\\", "").removesuffix("()")
                if name not in self.anchors or not re.search(r"::|_|[a-z][A-Z]|\(\)", name + match[0][-2:]):
                    return match[0]
                page, title = self.anchors[name]
                page = f"reference/{self.language}/{page_of(page)}"
                target = "" if page == here else page.rpartition("/")[2]
                return f"[{match[0]}]({target}#{anchor(title)})"
            return re.sub(r"(?<![\w:.])(?:[A-Z]\w*(?:::\w+(?:\\_\w+)*)?|cairn(?:\\_\w+)+)(?:\(\))?(?![\w/])", found, text)
        return link


def page_of(name):
    return pathlib.PurePath(name).stem + ".md"


def anchor(title):
    return re.sub(r"[^a-z0-9_]+", "-", title.lower()).strip("-")


def cpp(root):
    return Reference(root, "lib/include", "cairn/cairn.h", "cpp").pages


def c(root):
    return Reference(root, "lib/c/include", "cairn/c.h", "c").pages
