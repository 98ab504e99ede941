"""Just enough C++ to check house rules: comments and strings blanked, includes, where functions begin and end."""
import re

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|'
                   r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def code_only(text):
    """The text with comments and literals blanked; lines keep their numbers and columns."""
    return TOKEN.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def includes(text):
    """(line, name, '<' or '"') of each #include."""
    return [(text.count("\n", 0, m.start(2)) + 1, m.group(2), m.group(1)) for m in INCLUDE.finditer(text)]


def functions(text):
    """(name, first line, last line) of each function body.

    A heuristic over braces: a block that opens where only namespaces and classes are open, and is neither of them, nor
    an initializer, is a function's.
    """
    code = re.sub(r"^[ \t]*#.*?(?<!\\)$", lambda m: re.sub(r"[^\n]", " ", m.group()), code_only(text), flags=re.M | re.S)
    open_blocks, head_start, line = [], 0, 1
    for position, letter in enumerate(code):
        if letter == "\n":
            line += 1
        elif letter == ";":
            head_start = position + 1
        elif letter == "{":
            open_blocks.append((kind(code[head_start:position], open_blocks), code[head_start:position], line))
            head_start = position + 1
        elif letter == "}" and open_blocks:
            what, head, first = open_blocks.pop()
            head_start = position + 1
            if what == "function":
                yield name_of(head), first, line


def kind(head, open_blocks):
    if any(what != "scope" for what, _, _ in open_blocks):
        return "inner"
    if re.search(r"\b(namespace|extern)\b", head) or re.search(r"\b(class|struct|union|enum)\b[^()]*$", head):
        return "scope"
    return "inner" if head.rstrip().endswith("=") else "function"


def name_of(head):
    found = re.search(r"([\w:~]+)\s*\(", head)
    return found.group(1) if found else "a block"
