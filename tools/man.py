"""Writes the manual page cairn(1) to stdout, out of what the command says of itself.

usage: man.py CAIRN
"""
import re
import subprocess
import sys


def said(*words):
    return subprocess.run(words, capture_output=True, check=True, text=True).stdout


def roff(text):
    """Text as it stands: troff acts on backslashes, on dots and quotes that begin a line, and makes dashes long."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", escaped, flags=re.MULTILINE)


def section(title, text):
    return f".SH {title}\n.nf\n{roff(text.strip(chr(10)))}\n.fi\n"


def page(cairn):
    version = said(cairn, "--version").split()[1]
    title, _, rest = said(cairn, "--help").partition("\n\n")
    name, _, does = title.partition(": ")
    verbs = re.findall(r"^  ([a-z][a-z-]*) ", rest.partition("Verbs:\n")[2].partition("\n\n")[0], re.MULTILINE)
    out = f'.TH CAIRN 1 "" "cairn {version}" "User Commands"\n.SH NAME\n{name} \\- {roff(does)}\n'
    out += section("SYNOPSIS AND VERBS", rest)
    for verb in verbs:
        out += section(f"CAIRN {verb.upper()}", said(cairn, "help", verb))
    return out


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1]))
