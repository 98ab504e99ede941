"""What MkDocs is told besides mkdocs.yml: which files become pages, where their links lead, and the reference.

Pages are the Markdown files of the repository, where they are. A page that is in docs/ has its place without `docs/`;
any other one has the place that it has in the repository. A link to a file that is no page leads to a page that shows the
file. The reference is made here, of the headers, the Python package and the command.
"""
import os
import pathlib
import posixpath
import re
import subprocess
import sys

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs/site"))
import headers  # noqa: E402

COMMAND = os.environ.get("CAIRN", str(ROOT / "build/tools/cairn"))
PYTHON = {
    "cairn_store": ("cairn_store", "The package `cairn_store`: `pip install .` in a clone.", ["cairn_store"]),
    "safetensors": ("cairn_store.safetensors", "The names of the package safetensors, over Cairn.",
                    ["cairn_store.safetensors", "cairn_store.safetensors.numpy", "cairn_store.safetensors.torch"]),
    "tensorflow": ("cairn_store.tensorflow", "TensorFlow's names, over Cairn. TensorFlow is not needed.",
                   ["cairn_store.tensorflow"]),
}
# The language of a source for the highlighter, by its suffix.
LANGUAGES = {".cc": "cpp", ".h": "cpp", ".c": "c", ".py": "python", ".rs": "rust", ".go": "go", ".build": "meson"}
LINK = re.compile(r"(\]\()([^()\s]+)(\))")
CODE = re.compile(r"(^```.*?^```$|^(?: {4}|\t)[^\n]*$|`[^`\n]+`)", re.M | re.S)

places = {}  # of each page on the site, its path in the repository


def tracked():
    """Every file of the repository, without what git ignores."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True,
                            check=True).stdout.decode()
    return sorted(name for name in listed.split("\0") if name and (ROOT / name).is_file())


def place_of(path):
    """Where a Markdown file or picture of the repository is on the site."""
    return "overview.md" if path == "README.md" else path.removeprefix("docs/")


def on_config(config):
    """A folder in the navigation stands for its pages, in the order of their names."""
    names = [place_of(name) for name in tracked() if name.endswith(".md")]
    names += [f"reference/{language}/{page}" for language in ("cpp", "c") for page in reference(language)]
    config.nav = unfolded(config.nav, names)
    return config


def unfolded(item, names):
    if isinstance(item, dict):
        return {title: unfolded(below, names) for title, below in item.items()}
    if isinstance(item, list):
        made = [unfolded(one, names) for one in item]
        return [page for one in made for page in (one if isinstance(one, list) else [one])]
    if not item.endswith("/"):
        return item
    found = [name for name in names if name.startswith(item) and name.count("/") == item.count("/")]
    found += [name for name in names if re.fullmatch(rf"{item}[^/]+/README\.md", name)]
    heads = ("README.md", "cairn.md", "c.md")
    return sorted(found, key=lambda name: (name.rpartition("/")[2] not in heads or name.count("/") > item.count("/"), name))


made = {}


def reference(language):
    if language not in made:
        made[language] = {"cpp": headers.cpp, "c": headers.c}[language](ROOT)
    return made[language]


def on_files(files, config):
    """Replaces the list of files: Markdown and what it shows, from all of the repository; sources that it names."""
    names = tracked()
    own = ("site/site.css", "site/cairn.svg")
    kept = [file for file in files if file.src_dir != config.docs_dir or file.src_uri in own]
    known, linked = set(names), set()
    folders = {posixpath.dirname(name) for name in names}
    for name in names:
        if name.endswith(".md"):
            text = (ROOT / name).read_text()
            kept.append(File.generated(config, place_of(name), abs_src_path=str(ROOT / name)))
            places[place_of(name)] = name
            linked |= {resolved(name, target) for _, target, _ in LINK.findall(CODE.sub("", text))}
    for target in sorted(linked & known):
        if target.endswith((".png", ".svg")):
            kept.append(File.generated(config, place_of(target), abs_src_path=str(ROOT / target)))
        elif not target.endswith(".md") and shown(target).startswith("source/"):
            kept.append(File.generated(config, shown(target), content=source_page(target)))
    for target in sorted(linked & folders - known):
        if f"{target}/README.md" not in known:
            listing = "\n".join(name for name in names if name.startswith(target + "/"))
            kept.append(File.generated(config, shown(target), content=fenced(target, listing, "text")))
    for language in ("cpp", "c"):
        kept += [File.generated(config, f"reference/{language}/{page}", content=text)
                 for page, text in reference(language).items()]
    for page, (title, head, modules) in PYTHON.items():
        kept.append(File.generated(config, f"reference/python/{page}.md", content=python_page(title, head, modules)))
    kept.append(File.generated(config, "reference/command.md", content=command_page()))
    return Files(kept)


def resolved(name, target):
    """The path in the repository that a link of a page leads to."""
    path = target.partition("#")[0]
    if not path or re.match(r"[a-z]+:", path):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), path))


def shown(path):
    """The page that shows a file; of a public header it is the reference."""
    for language, headers_of in (("cpp", "lib/include/cairn/"), ("c", "lib/c/include/cairn/")):
        page = headers.page_of(path)
        if path.startswith(headers_of) and page in reference(language):
            return f"reference/{language}/{page}"
    return f"source/{path}.md"


def fenced(title, text, language):
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    return f"---\ntitle: {title}\nsearch:\n  exclude: true\n---\n# {title}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def source_page(path):
    return fenced(path, (ROOT / path).read_text(), LANGUAGES.get(pathlib.PurePath(path).suffix, "text"))


def on_page_markdown(markdown, page, config, files):
    """Leads links to where the files are on the site."""
    if page.file.src_uri not in places:
        return markdown
    name = places[page.file.src_uri]
    page.meta.setdefault("search", {}).setdefault("boost", 2)  # prose before the reference

    def led(match):
        path = resolved(name, match[2])
        if path is None:
            return match[0]
        _, hash_, fragment = match[2].partition("#")
        target = path if path.endswith((".md", ".png", ".svg")) else f"{path}/README.md"
        if target not in places.values() and not target.endswith((".png", ".svg")):
            target = None
        target = place_of(target) if target else shown(path)
        return match[1] + posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".") + hash_ + fragment + match[3]

    parts = CODE.split(markdown)
    return "".join(part if i % 2 else LINK.sub(led, part) for i, part in enumerate(parts))


def python_page(title, head, modules):
    page = f"# {title}\n\n{head}\n"
    for module in modules:
        page += f"\n::: {module}\n    options:\n      show_root_heading: {str(module != title).lower()}\n"
    return page


def said(*words):
    try:
        return subprocess.run([COMMAND, *words], capture_output=True, check=True, text=True,
                              env={**os.environ, "COLUMNS": "100"}).stdout
    except OSError as error:
        raise PluginError(f"the reference of the command needs the command: {error}. 'ninja -C build tools/cairn' "
                          "builds it; CAIRN=PATH names another one") from error


def command_page():
    overview = said("--help")
    listed = overview.partition("Verbs:\n")[2].partition("\n\n")[0]
    verbs = re.findall(r"^  ([a-z][a-z-]*) ", listed, re.M)
    page = f"# cairn: all verbs and options\n\nWhat `cairn help VERB` prints. [With examples](../cli.md).\n\n```text\n{overview}```\n"
    for verb in verbs:
        page += f"\n## cairn {verb}\n\n```text\n{said('help', verb)}```\n"
    return page
