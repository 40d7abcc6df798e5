// Probabilities as bars over the whole range of 0 to 100 %, with the threshold as a line where there is one.

import { el, theirs } from "./dom.js";
import { percent } from "./format.js";
import { word } from "./words.js";

const AT_ONCE = 6; // more classes than these are folded away

export function barTable({ caption, rows, sums }) {
  const shown = rows.length > AT_ONCE ? rows.slice(0, AT_ONCE - 1) : rows;
  const folded = rows.slice(shown.length);
  return el(
    "div",
    {},
    table(caption, [...sums, ...shown]),
    folded.length && el("details", { class: "more" }, el("summary", {}, word("bars.more", { n: folded.length })), table("", folded)),
  );
}

function table(caption, rows) {
  const ticks = el("div", { class: "ticks", "aria-hidden": "true" }, el("span", {}, "0"), el("span", { class: "end" }, word("percent", { n: "100" })));
  return el(
    "table",
    { class: "bars" },
    caption && el("caption", {}, caption),
    el("tbody", {}, rows.map(row), el("tr", { class: "scale", "aria-hidden": "true" }, el("td"), el("td", {}, ticks), el("td"))),
  );
}

function row({ label, note, value, at, named }) {
  const fill = el("div", { class: "fill" });
  fill.style.width = `${100 * value}%`;
  const line = at === null ? null : el("div", { class: "at" });
  if (line) line.style.left = `calc(${100 * at}% - 1px)`;
  return el(
    "tr",
    { class: named ? "named" : null },
    el("th", { scope: "row" }, label, note && theirs("span", note, { class: "note" })),
    el("td", { "aria-hidden": "true" }, el("div", { class: "track" }, fill, line)),
    el(
      "td",
      { class: "number" },
      el("data", { value: String(value) }, percent(value)),
      at !== null && el("span", { class: "threshold" }, word("bars.threshold", { threshold: percent(at) })),
    ),
  );
}
