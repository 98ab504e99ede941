"""Markdown from what run.py measured. Nobody copies a figure by hand."""

QUESTIONS = {
    "open": "open",
    "list": "open, list every tensor",
    "one": "open, get one small tensor",
}
CONTENDERS = {
    "cairn": "Cairn, `P.cairn`",
    "cairn over tensorflow": "Cairn, TensorFlow's `P.index`",
    "cairn over safetensors": "Cairn, safetensors' header",
    "tensorflow": "TensorFlow",
    "safetensors": "safetensors",
}
# The rows of the front page.
FRONT = (
    ("gpt2", "open", "open {tensors} tensors, {megabytes} MB (GPT-2)"),
    ("rows", "open", "open {tensors} tensors, {megabytes} MB"),
    ("rows", "list", "the same, and list every name"),
    ("rows", "one", "the same, and get one of them"),
)


def duration(us):
    """Three significant digits, with a unit that fits."""
    value, unit = (us, "µs") if us < 1000 else (us / 1000, "ms")
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def ratio(us, to_us):
    times = us / to_us
    return f"{times:.1f}×" if times < 10 else f"{times:.0f}×"


def medians(result):
    return {(f["payload"], f["question"], f["contender"]): f["median_us"] for f in result["figures"]}


def table(result):
    """Cairn's medians beside those of the peers, and how many times as long they take."""
    median, versions = medians(result), result["versions"]
    peers = [peer for peer in ("tensorflow", "safetensors") if peer in versions]
    lines = ["| warm index, median | Cairn | " + " | ".join(f"{CONTENDERS[p]} {versions[p]}" for p in peers) + " |",
             "| --- |" + " ---: |" * (1 + len(peers))]
    for name, question, what in FRONT:
        payload = next(p for p in result["payloads"] if p["name"] == name)
        what = what.format(tensors=f"{payload['tensors']:,}", megabytes=round(payload["bytes"] / 1e6))
        ours = median[name, question, "cairn"]
        theirs = [median[name, question, peer] for peer in peers]
        cells = [duration(ours), *(f"{duration(us)} ({ratio(us, ours)})" for us in theirs)]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    machine = result["machine"]
    lines += ["", f"`{result['command']}`, {result['date'][:10]}, {machine['cores']} cores of {machine['cpu']}, "
              f"{machine['kernel']}.", "[All figures, and how they were taken](docs/benchmarks/README.md).", ""]
    return "\n".join(lines)


def conditions(result):
    machine, versions, load = result["machine"], result["versions"], result["load_average"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    resident = ";\n  ".join(f"`{p['name']}`: {p['resident_bytes']:,} bytes, safetensors' header has {p['head_bytes']:,}"
                           for p in result["payloads"])
    return f"""\
- Repeat: `{result['command']}` ({result['repetitions']} repetitions). Measured {result['date']}.
- Machine: {machine['cores']} cores of {machine['cpu']}, {machine['memory_bytes'] / 2**30:.0f} GiB, {machine['kernel']}.
- Load average: {load['before']:.1f} before, {load['after']:.1f} after.
- Versions: {named}.
- Same bytes for all: three names of one inode. Each repetition asks the contenders one after another; its figure is the
  mean over at least 20 ms of asking again and again, or over one time where that takes longer. Index files are warm: a
  round before is not counted. Closing is not timed. Peers' processes live on, Cairn's is new for each figure.
- No tensor byte is touched, but for "get one". The shards were dropped from the page cache before; when all had opened
  and listed them, it held the header that safetensors reads, and what the kernel reads ahead of it:
  {resident}.
- The peers are asked in Python, where they are used; garbage collection is off. TensorFlow: `NewCheckpointReader`; to
  list, `load_checkpoint` and `get_variable_to_shape_map`. safetensors: `safe_open`; to list, `keys()`, which gives no
  shapes. Cairn checks its index's digest and every entry each time it opens, and "get one" checks the tensor's CRC32C,
  as TensorFlow does and safetensors cannot.
"""


def page(result):
    """docs/benchmarks/README.md."""
    figures = {(f["payload"], f["question"], f["contender"]): f for f in result["figures"]}
    lines = ["# Opening a checkpoint, measured", "", "Written by `./dev bench`; every sample is in `open.json`.", "",
             conditions(result)]
    for payload in result["payloads"]:
        name = payload["name"]
        lines += [f"## `{name}`: {payload['tensors']:,} tensors, {payload['bytes']:,} bytes", "",
                  "| question | contender | min | median | max | to Cairn |", "| --- | --- |" + " ---: |" * 4]
        for question, words in QUESTIONS.items():
            ours = figures[name, question, "cairn"]["median_us"]
            for contender, label in CONTENDERS.items():
                if figure := figures.get((name, question, contender)):
                    cells = [duration(figure[key]) for key in ("min_us", "median_us", "max_us")]
                    lines.append(f"| {words} | {label} | " + " | ".join(cells)
                                 + f" | {ratio(figure['median_us'], ours)} |")
        lines.append("")
    return "\n".join(lines)
