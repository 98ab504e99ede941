"""Checks what a browser would do with the site: it fetches nothing from elsewhere, and every link leads to a file.

usage: check.py SITE

MkDocs checks the links that are written in Markdown. This also sees those of the theme, the reference and raw HTML.
"""
import html.parser
import pathlib
import re
import sys
import urllib.parse

FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href"), ("object", "data")}
OF_A_LINK = {"canonical", "prev", "next", "edit"}  # what a <link> names and no browser fetches


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.fetched, self.links, self.ids = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        for name, value in attributes.items():
            if (tag, name) in FETCHED and value and attributes.get("rel") not in OF_A_LINK:
                self.fetched.append(value)
            if tag == "a" and name == "href" and value:
                self.links.append(value)


def problems_of(site):
    """The sentences of what is wrong, and the number of pages."""
    site = pathlib.Path(site).resolve()
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    problems = []
    for path, page in sorted(pages.items()):
        name = path.relative_to(site)
        problems += [f"{name}: fetches {url}" for url in page.fetched if re.match(r"(\w+:)?//", url)]
        if name.name == "404.html":
            continue  # its links begin at the root of a server
        for url in [*page.links, *page.fetched]:
            parts = urllib.parse.urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                problems.append(f"{name}: {url} leads nowhere")
            elif parts.fragment and target in pages and urllib.parse.unquote(parts.fragment) not in pages[target].ids \
                    and not parts.fragment.startswith("__"):
                problems.append(f"{name}: {target.relative_to(site)} has no place {parts.fragment}")
    for path in site.rglob("*.css"):
        urls = re.findall(r"url\([\"']?((?:\w+:)?//[^)]*)|@import[^;]*//", path.read_text())
        problems += [f"{path.relative_to(site)}: fetches {url}" for url in urls]
    return problems, len(pages)


def main(site):
    problems, count = problems_of(site)
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{count} pages, {len(problems)} problems")
    return 1 if problems or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
