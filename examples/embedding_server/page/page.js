"use strict";

// Everything that comes from the server is put in as text, never as HTML.

const RECENT_LOOKS = 10;  // looks at the server that count as "the last seconds"
const LOOKS_PER_TENSORS = 5;  // the server counts the pages in memory for each of these answers
const looks = [];
let looked = 0;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count.toFixed(unit === 0 || count >= 100 ? 0 : 1)} ${units[unit]}`;
}

function time(seconds) {
  if (seconds < 0.001) return `${+(seconds * 1e6).toPrecision(3)} µs`;
  return seconds < 1 ? `${+(seconds * 1000).toPrecision(3)} ms` : `${+seconds.toPrecision(3)} s`;
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

// columns: [title, kind, row => text]
function fill(id, columns, rows, none) {
  const table = document.getElementById(id);
  const head = element("tr");
  const body = rows.map((row) => {
    const line = element("tr");
    line.append(...columns.map(([, kind, text]) => element("td", text(row), kind)));
    return line;
  });
  head.append(...columns.map(([title, kind]) => element("th", title, kind)));
  table.replaceChildren(...(rows.length ? [head, ...body] : [element("caption", none, "note")]));
}

function showCurrent(models) {
  const pairs = models.current
    ? [["prefix", models.current.prefix], ["generation", models.current.generation],
       ["digest", models.current.digest || "none"], ["before it", models.rollback || "none"]]
    : [["prefix", "none yet"]];
  if (models.last_error) pairs.push(["error", models.last_error]);
  document.getElementById("current").replaceChildren(
    ...pairs.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  document.getElementById("warnings").replaceChildren(...models.warnings.map((text) => element("li", text)));
  const working = models.state !== "idle";
  document.getElementById("work").hidden = !working;
  if (working) {
    document.getElementById("doing").textContent = `${models.state} ${models.candidate}`;
    const bar = document.getElementById("progress");
    bar.max = models.total_bytes || 1;
    bar.value = models.done_bytes;
  }
}

function bar(shares) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 10");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  shares.forEach(([name, share], i) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    made.setAttribute("class", name);
    made.setAttribute("y", 5 * i);
    made.setAttribute("width", share ? Math.max(0.5, 100 * share) : 0);
    made.setAttribute("height", 5);
    svg.append(made);
  });
  return svg;
}

function showLatency({bounds_seconds: bounds, counts}) {
  looks.push(counts);
  if (looks.length > RECENT_LOOKS) looks.shift();
  const recent = counts.map((count, i) => count - looks[0][i]);
  const sum = (values) => values.reduce((a, b) => a + b, 0) || 1;
  const rows = counts.flatMap((count, i) => [
    element("span", i < bounds.length ? `≤ ${time(bounds[i])}` : `> ${time(bounds.at(-1))}`),
    bar([["recent", recent[i] / sum(recent)], ["all", count / sum(counts)]]),
    element("span", count.toLocaleString("en"), "count")]);
  document.getElementById("histogram").replaceChildren(...rows);
}

function showModels(models) {
  showCurrent(models);
  showLatency(models.latency);
  const seconds = (row) => row.check_seconds === undefined ? ""
    : time(row.open_seconds + row.check_seconds + row.populate_seconds);
  fill("history", [["at", "", (row) => clock(row.at)], ["no.", "number", (row) => row.generation],
                   ["checkpoint", "text", (row) => row.prefix], ["why", "text", (row) => row.why],
                   ["brought in", "number", seconds]], models.history, "No checkpoint has been published.");
  fill("quarantine", [["since", "", (row) => clock(row.since)], ["checkpoint", "text", (row) => row.prefix],
                      ["why", "long", (row) => row.why]], models.quarantine, "No checkpoint was rejected.");
}

function showTensors(answer) {
  const more = answer.tensor_count - answer.tensors.length;
  document.getElementById("shown").textContent = more ? `The first ${answer.tensors.length} of ${answer.tensor_count}.` : "";
  fill("tensors", [["name", "text", (row) => row.name], ["dtype", "", (row) => row.dtype],
                   ["shape", "", (row) => `[${row.shape.join(", ")}]`], ["size", "number", (row) => bytes(row.size_bytes)],
                   ["resident", "number", (row) => row.resident_bytes === null ? ""
                     : `${Math.floor(100 * row.resident_bytes / (row.size_bytes || 1))} %`]], answer.tensors, "No tensor.");
}

async function look() {
  const connection = document.getElementById("connection");
  try {
    const models = await (await fetch("/models")).json();
    showModels(models);
    if (models.current && looked % LOOKS_PER_TENSORS === 0) showTensors(await (await fetch("/tensors")).json());
    looked += models.current ? 1 : 0;
    connection.textContent = models.current ? "ready" : "not ready: no checkpoint yet";
    connection.className = "";
  } catch (failed) {
    connection.textContent = "the server does not answer";
    connection.className = "bad";
  }
  setTimeout(look, 1000);
}

look();
