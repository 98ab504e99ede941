"""Plots of what was measured: what is to be drawn (needs nothing), and drawing it (needs matplotlib)."""
import os
from dataclasses import dataclass

from figures import Figures, duration, group
from questions import COUNTS, SIZES, label

# Okabe and Ito's colours, which the colour-blind can tell apart. Cairn is always the same blue.
COLOURS = {"cairn": "#0072B2", "machine": "#8C8C8C", "peer": "#E69F00"}
LINES = {"cairn": ("#0072B2", "o"), "tensorflow": ("#E69F00", "s"), "safetensors": ("#D55E00", "^"),
         "safetensors-rust": ("#CC79A7", "v"), "plain-mmap": ("#8C8C8C", "D"), "plain-pread": ("#4D4D4D", "x")}
STEPS = (("open", "#0072B2", "o"), ("restore", "#56B4E9", "s"), ("verify", "#009E73", "^"), ("import", "#000000", "v"))
LOG_FROM = 12  # times between the least and the greatest, where a logarithmic axis begins


@dataclass
class Panel:
    """Bars of one payload. A bar: label, group, minimum, median, maximum."""
    title: str
    bars: list


@dataclass
class Bars:
    name: str
    title: str
    panels: list


@dataclass
class Line:
    label: str
    colour: str
    marker: str
    points: list     # (x, minimum, median, maximum)


@dataclass
class Lines:
    name: str
    title: str
    x: str
    y: str
    lines: list
    log: bool = True


def plan(asked, result):
    """The charts of one question."""
    figures = Figures({asked.name: result})
    if asked.name == "growth":
        charts = growth(figures)
    elif asked.name == "processes":
        charts = processes(figures)
    else:
        charts = bars(asked, result)
    return [chart for chart in charts if (chart.lines if isinstance(chart, Lines) else chart.panels)]


def bars(asked, result):
    for part in asked.parts:
        panels = []
        for payload in result["payloads"]:
            found = [f for f in result["figures"] if (f["ask"], f["payload"]) == (part.ask, payload["name"])]
            found.sort(key=lambda f: f["median_us"])
            if len(found) > 1:
                panels.append(Panel(f"{payload['name']}: {payload['tensors']:,} tensors, {megabytes(payload['bytes'])}",
                                    [(label(f["contender"], asked).replace("`", ""), group(f["contender"]),
                                      f["min_us"] / 1000, f["median_us"] / 1000, f["max_us"] / 1000) for f in found]))
        name = asked.name if len(asked.parts) == 1 else f"{asked.name}-{part.ask}"
        yield Bars(name, f"{asked.title}: {part.words}" if len(asked.parts) > 1 else asked.title, panels)


def megabytes(count):
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def line(figures, places, contender, words, colour, marker):
    """`places`: pairs of x and (question, ask, payload). A figure that is not there is a point less."""
    points = []
    for x, where in places:
        if figure := figures.by_key.get((*where, contender)):
            points.append((x, *(figure[key] / 1000 for key in ("min_us", "median_us", "max_us"))))
    return Line(words, colour, marker, points)


def counter_line(figures, places, contender, counter, style):
    found = [(x, figures.counter(where, contender, counter)) for x, where in places]
    # Nothing gained is no point on a logarithmic axis.
    return Line(*style, [(x, value / 1e6, value / 1e6, value / 1e6) for x, value in found if value])


def drawn(lines):
    return [one for one in lines if one.points]


def processes(figures):
    places = [(n, ("processes", f"processes-{n}", "gpt2")) for n in (1, 2, 4, 8)]
    contenders = ("cairn", "plain-mmap", "plain-pread")
    styles = {name: (label(name), *LINES[name]) for name in contenders}
    yield Lines("processes-time", "Many processes restore GPT-2 (498 MB) at once, warm", "processes",
                "time until the last one is done, ms",
                drawn(line(figures, places, name, *styles[name]) for name in contenders))
    yield Lines("processes-memory", "Memory of all of them together while they hold it", "processes", "sum of PSS, MB",
                drawn(counter_line(figures, places, name, "pss_bytes", styles[name]) for name in contenders), log=False)


def growth(figures):
    def places(ask, payloads, by):
        known = [(figures.payload(name), name) for name in payloads]
        return [(payload[by], ("growth", ask, name)) for payload, name in known if payload]

    by_count, by_bytes = (COUNTS, "tensors"), (SIZES, "bytes")
    yield Lines("growth-open", "Opening, against the number of tensors", "tensors", "open, ms",
                drawn(line(figures, places("open", *by_count), name, label(name), *LINES[name])
                      for name in ("cairn", "tensorflow", "safetensors", "safetensors-rust")))
    asks = {"open": ("open", "cairn"), "restore": ("processes-1", "cairn"), "verify": ("verify", "cairn"),
            "import": ("import", "cairn-memory")}
    for name, (payloads, by), x, title in (
            ("growth-tensors", by_count, "tensors of 256 bytes", "Cairn, against the number of tensors"),
            ("growth-bytes", by_bytes, "bytes, in 291 tensors", "Cairn, against bytes: what reads no tensor stays level")):
        yield Lines(name, title, x, "time, ms",
                    drawn(line(figures, places(asks[step][0], payloads, by), asks[step][1], step, colour, marker)
                          for step, colour, marker in STEPS))
    memory = places("processes-1", *by_count)
    yield Lines("growth-memory", "Cairn's own memory while restoring, against the number of tensors", "tensors", "MB",
                drawn((counter_line(figures, memory, "cairn", "anonymous_bytes", ("anonymous memory", *LINES["cairn"])),
                       counter_line(figures, memory, "cairn", "index_bytes", ("size of P.cairn", *LINES["plain-mmap"])))))


# --- drawing ---------------------------------------------------------------------------------------------------------

def draw(asked, result, directory):
    """Writes NAME.png and NAME.svg for each chart; gives the names."""
    try:
        import matplotlib
    except ImportError:
        print("bench: matplotlib is not there: no plots")
        return []
    matplotlib.use("Agg")
    # Without a date and with fixed names, so that the same figures give the same file.
    matplotlib.rcParams.update({"svg.hashsalt": "cairn", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False, "axes.titlesize": 11, "axes.titlelocation": "left"})
    charts = plan(asked, result)
    for chart in charts:
        figure = draw_bars(chart) if isinstance(chart, Bars) else draw_lines(chart)
        for kind, details in (("png", {"dpi": 110}), ("svg", {"metadata": {"Date": None}})):
            figure.savefig(os.path.join(directory, f"{chart.name}.{kind}"), **details)
    return [chart.name for chart in charts]


def draw_bars(chart):
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    counts = [len(panel.bars) for panel in chart.panels]
    figure = Figure(figsize=(8.5, 1.1 + sum(0.9 + 0.3 * count for count in counts)), layout="constrained")
    figure.suptitle(chart.title, x=0.01, ha="left", fontweight="bold")
    axes = figure.subplots(len(counts), 1, squeeze=False, gridspec_kw={"height_ratios": [1 + 0.3 * c for c in counts]})
    for axis, panel in zip(axes[:, 0], chart.panels):
        draw_panel(axis, panel)
    groups = [g for g in COLOURS if any(bar[1] == g for panel in chart.panels for bar in panel.bars)]
    words = {"cairn": "Cairn", "machine": "the machine itself", "peer": "peers"}
    figure.legend(handles=[Patch(color=COLOURS[g], label=words[g]) for g in groups], ncols=3, frameon=False,
                  loc="outside lower right")
    return figure


def draw_panel(axis, panel):
    names, groups, least, middle, most = zip(*panel.bars)
    rows = range(len(names))
    spread = ([m - low for m, low in zip(middle, least)], [high - m for m, high in zip(middle, most)])
    bars = axis.barh(rows, middle, color=[COLOURS[g] for g in groups], xerr=spread, height=0.7,
                     error_kw={"elinewidth": 1, "capsize": 2.5, "ecolor": "#202020"})
    for bar, name in zip(bars, names):
        bar.set_alpha(0.5 if name.endswith("unchecked") else 1)
    axis.set_yticks(rows, names)
    axis.set_ylim(len(names) - 0.4, -0.6)  # the first on top
    axis.set_title(panel.title)
    axis.set_xlabel("median and spread, ms")
    if max(most) > LOG_FROM * min(least):
        axis.set_xscale("log")
        axis.set_xlim(min(least) / 2, max(most) * 4)
    else:
        axis.set_xlim(0, max(most) * 1.18)
    for row, value, end in zip(rows, middle, most):
        axis.annotate(duration(value * 1000), (end, row), xytext=(6, 0), textcoords="offset points", va="center",
                      fontsize=9)


def draw_lines(chart):
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, ScalarFormatter
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axis = figure.subplots()
    for one in chart.lines:
        xs, least, middle, most = zip(*one.points)
        axis.plot(xs, middle, color=one.colour, marker=one.marker, markersize=5, label=one.label.replace("`", ""),
                  zorder=4 if one.colour == COLOURS["cairn"] else 3)
        axis.fill_between(xs, least, most, color=one.colour, alpha=0.18, linewidth=0)
    axis.set_title(chart.title, fontweight="bold")
    axis.set_xlabel(chart.x)
    axis.set_ylabel(chart.y)
    axis.set_xscale("log")
    if chart.log:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    if chart.x == "processes":
        axis.set_xticks([1, 2, 4, 8])
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(True, which="major", color="#DDDDDD", linewidth=0.7)
    axis.legend(frameon=False)
    return figure
