// Probabilities as bars over the whole range of 0 to 100 %, with the threshold as a line where there is one.

import { el, theirs } from "./dom.js";
import { percent } from "./format.js";
import { word } from "./words.js";

const AT_ONCE = 6; // more classes than these are folded away

export function barList({ caption, rows, sums }) {
  const shown = rows.length > AT_ONCE ? rows.slice(0, AT_ONCE - 1) : rows;
  const folded = rows.slice(shown.length);
  return el(
    "div",
    { class: "part bar-part" },
    el("h3", {}, caption),
    el("ul", { class: "bars" }, [...sums, ...shown].map(bar)),
    folded.length > 0 &&
      el(
        "details",
        { class: "more" },
        el("summary", {}, word("bars.more", { n: folded.length })),
        el("ul", { class: "bars" }, folded.map(bar)),
      ),
  );
}

// Label and number carry everything; the drawing beneath is for the eye alone.
function bar({ label, note, value, at, named, spread }) {
  return el(
    "li",
    { class: named ? "named" : null },
    el("span", { class: "label" }, label, note && theirs("span", note, { class: "note" })),
    el("data", { value: String(value) }, percent(value)),
    el(
      "div",
      { class: "track", "aria-hidden": "true" },
      span("fill", "width", value),
      spread && range(spread),
      at !== null && span("at", "left", at),
    ),
    spread &&
      el("span", { class: "threshold" }, word("bars.spread", { low: percent(spread[0]), high: percent(spread[1]) })),
    at !== null && mark(at),
  );
}

function mark(at) {
  const text = el("span", { class: "threshold" }, word("bars.threshold", { threshold: percent(at) }));
  if (at <= 0.5) text.style.marginLeft = `${100 * at}%`;
  else text.style.marginRight = `${100 * (1 - at)}%`;
  if (at > 0.5) text.classList.add("before");
  return text;
}

// From the least to the most that one of several networks gives.
function range([low, high]) {
  const made = span("range", "left", low);
  made.style.width = `${100 * (high - low)}%`;
  return made;
}

function span(name, edge, share) {
  const made = el("span", { class: name });
  made.style[edge] = `${100 * share}%`;
  return made;
}
