"""Pages from docs/benchmarks/raw/. Nobody copies a figure by hand.

usage: report.py     makes the pages and plots anew from the raw figures that are there
"""
import json
import os

import plots
import targets
from contenders import ROOT
from figures import Figures, duration, group, size, times
from questions import FILLS, LABELS, PAYLOADS, QUESTIONS, label

DOCS = os.path.join(ROOT, "docs", "benchmarks")
START, END = "<!-- bench:open -->\n", "<!-- bench:end -->"
FRONT_PEERS = ("tensorflow", "safetensors", "safetensors-rust", "torch")
STOCK = (("its stock `.safetensors`", "cairn-safetensors", ("safetensors", "safetensors-rust")),
         ("its stock `P.index`", "cairn-tensorflow", ("tensorflow",)))


def front_opens(payload, words):
    """By Cairn's index, beside all; by the index that a peer reads too, beside that peer."""
    where = ("open", "open", payload)
    yield words, where, ("cairn",), (), FRONT_PEERS
    for stock, ours, peers in STOCK:
        yield f"… {stock}", where, (ours,), (), peers


# The front page: what, question and ask and payload, ours, the machine's own, and the peers in the row.
FRONT = (
    *front_opens("gpt2", "open 148 tensors, 498 MB (GPT-2), by `P.cairn`"),
    *front_opens("many", "open 100,000 tensors, 26 MB, by `P.cairn`"),
    ("open GPT-2 and touch every page", ("touch", "touch", "gpt2"), ("cairn-restore",), ("plain-populate",), FRONT_PEERS),
    ("check every byte of it", ("verify", "verify", "gpt2"), ("cairn",), ("plain-pread-sum",), FRONT_PEERS),
    ("copy it into the caller's memory", ("copy", "copy", "gpt2"), ("cairn",), ("plain-memcpy",), FRONT_PEERS),
    ("restore it from a cold disk, checked", ("cold", "cold", "gpt2"), ("cairn",), ("fio",), FRONT_PEERS),
    ("save it, synced", ("save", "save_sync", "gpt2"), ("cairn",), ("plain-write",), FRONT_PEERS),
)


def ordered(figures):
    """Cairn, the machine, the peers; each as questions.LABELS has them."""
    known = list(LABELS)

    def place(figure):
        contender = figure["contender"]
        plain = contender.removesuffix("-unchecked")
        at = known.index(plain) if plain in known else len(known)
        return ("cairn", "machine", "peer").index(group(contender)), at, contender

    return sorted(figures, key=place)


def table(asked, figures, reference):
    """One payload's figures of one ask."""
    counters = [name for name in ("pss_bytes", "anonymous_bytes", "index_bytes")
                if any(name in f["counters"] for f in figures)]
    heads = [name.removesuffix("_bytes") for name in counters]
    lines = [f"| contender | min | median | max | to {label(asked.reference, asked)} |" + "".join(f" {head} |" for head in heads),
             "| --- |" + " ---: |" * (4 + len(heads))]
    for figure in ordered(figures):
        cells = [label(figure["contender"], asked), *(duration(figure[key]) for key in ("min_us", "median_us", "max_us")),
                 times(figure["median_us"] / reference) if reference else "–",
                 *(size(figure["counters"][name]) if name in figure["counters"] else "–" for name in counters)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def conditions(asked, result):
    machine, load = result["machine"], result["load_average"]
    named = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version)
    lines = [f"- {asked.about}", f"- {FILLS[asked.fill]}",
             f"- Repeat: `{result['command']}`; {result['repetitions']} repetitions, {result['date']}.",
             f"- Machine: {machine['cores']} cores of {machine['cpu']}, {machine['memory_bytes'] / 2**30:.0f} GiB,"
             f" {machine['kernel']}, {machine['file_system']}. Load average {load['before']:.1f} before,"
             f" {load['after']:.1f} after.",
             f"- Versions: {named}."]
    if result["absent"] and any(part.peers for part in asked.parts):
        lines.append(f"- Not there: {', '.join(label(name) for name in result['absent'])}.")
    lines += [f"- {label(contender, asked)} was not asked ({ask}, `{payload}`): {why}."
              for ask, payload, contender, why in result["skipped"]]
    return lines


def page(asked, result, images=()):
    """The page of one question."""
    figures = Figures({asked.name: result})
    lines = [f"# {asked.title}", "", f"Written by `./dev bench`; every sample is in `raw/{asked.name}.json`.", "",
             *conditions(asked, result), ""]
    for image in images:
        lines += [f"![{asked.title}]({image}.png) ([SVG]({image}.svg))", ""]
    for part in asked.parts:
        for payload in result["payloads"]:
            where = (asked.name, part.ask, payload["name"])
            found = [f for f in result["figures"] if (f["ask"], f["payload"]) == where[1:]]
            if not found:
                continue
            lines += [f"## {part.words}: `{payload['name']}`, {payload['tensors']:,} tensors, {payload['bytes']:,} bytes",
                      "", *table(asked, found, figures.first_us(where, asked.reference, "cairn", "cairn-memory")), ""]
    return "\n".join(lines)


def target_table(results):
    return targets.table(Figures(results))


def measured_on(asked):
    """Day and machine; behind it the questions, if they were not all asked on the same."""
    places = {}
    for result in asked:
        machine = result["machine"]
        place = f"{result['date'][:10]}, {machine['cores']} cores of {machine['cpu']}, {machine['kernel']}"
        places.setdefault(place, []).append(result["question"])
    return [place if len(places) == 1 else f"{place} ({', '.join(names)})" for place, names in places.items()]


def front(results):
    """The table of the front page: Cairn, the machine's own limit, and who else was asked."""
    figures = Figures(results)
    rows = [row for row in FRONT if figures.us(row[1], *row[2]) is not None]
    peers = [name for name in FRONT_PEERS if any(figures.us(where, name) for _, where, *_ in rows)]

    def cell(where, name, ours=None):
        """A median, how often ours it is, and behind a dot the same of a new process."""
        both = [(w, figures.us(w, name)) for w in (where, ("first", *where[1:]))]
        return " · ".join(duration(us) + (f" ({times(us / figures.us(w, ours))})" if ours else "")
                          for w, us in both if us is not None and (not ours or figures.us(w, ours))) or "–"

    lines = ["| median | Cairn | the machine's limit | " + " | ".join(label(name) for name in peers) + " |",
             "| --- |" + " ---: |" * (2 + len(peers))]
    for what, where, (ours,), limit, in_row in rows:
        best = min((name for prefix in limit for name in figures.contenders(where, prefix)),
                   key=lambda name: figures.us(where, name), default=None)
        others = [best, *(name if name in in_row else None for name in peers)]
        cells = [cell(where, name, ours) if name else "–" for name in others]
        lines.append(f"| {what} | {cell(where, ours)} | " + " | ".join(cells) + " |")
    shown = [result for name, result in results.items() if name == "first" or any(where[0] == name for _, where, *_ in rows)]
    lines += ["", "Warm page cache, unless a row says cold. Opens: repeated · the first of a new process. `./dev bench`, "
              + "; ".join(measured_on(shown)) + ".",
              "[All figures, how they were taken, and which targets they miss](docs/benchmarks/README.md).", ""]
    return "\n".join(lines)


def index(results):
    """docs/benchmarks/README.md."""
    lines = ["# Measured", "", "Written by `./dev bench`, which asks Cairn, its peers and the machine itself in turn. Each page"
             " says what was in the page", "cache, whether bytes were touched, checked and synced, and how to repeat it;"
             " [the method](../../bench/README.md) is the same for", "all. A figure is a fact about one machine: read the"
             " ratios.", "", "| page | what |", "| --- | --- |"]
    lines += [f"| [{q.name}]({q.name}.md) | {q.title} |" for q in QUESTIONS if q.name in results]
    lines += ["", "The payloads:", "", *(f"- `{name}`: {words}." for name, words in PAYLOADS.items()), "",
              "## Targets", "", "Ratios of medians of one run. A target that is missed stays here until it is met.", "",
              target_table(results), ""]
    return "\n".join(lines)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def raw_text(result):
    """A line for each figure, so that a difference can be read."""
    figures = ",\n".join("  " + json.dumps(figure) for figure in result["figures"])
    head = json.dumps({**result, "figures": []}, indent=1)
    return head[:-len("[]\n}")] + f"[\n{figures}\n ]\n}}\n"


def write_raw(result):
    write(os.path.join(DOCS, "raw", f"{result['question']}.json"), raw_text(result))


def read_raw(docs=DOCS):
    results = {}
    for asked in QUESTIONS:
        path = os.path.join(docs, "raw", f"{asked.name}.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                results[asked.name] = json.load(file)
    return results


def publish(docs=DOCS, front_page=os.path.join(ROOT, "README.md")):
    """All pages and plots from the raw figures, and nothing else beside them."""
    results = read_raw(docs)
    written = {"README.md": index(results)}
    images = {asked.name: plots.draw(asked, results[asked.name], docs) for asked in QUESTIONS if asked.name in results}
    for asked in QUESTIONS:
        if asked.name in results:
            written[f"{asked.name}.md"] = page(asked, results[asked.name], images[asked.name])
    drawn = {f"{image}.{kind}" for names in images.values() for image in names for kind in ("png", "svg")}
    for name in os.listdir(docs):
        path = os.path.join(docs, name)
        if os.path.isfile(path) and name not in written and name not in drawn:
            os.remove(path)
    for name, text in written.items():
        write(os.path.join(docs, name), text)
    with open(front_page, encoding="utf-8") as file:
        before, rest = file.read().split(START)
    write(front_page, before + START + front(results) + END + rest.split(END)[1])
    print(f"bench: wrote {os.path.relpath(docs, ROOT)} and {os.path.relpath(front_page, ROOT)}")


if __name__ == "__main__":
    publish()
