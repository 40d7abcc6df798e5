// The text file of results: the same words as on the page, in lines.

import { percent } from "./format.js";
import { told } from "./told.js";
import { word } from "./words.js";

export function textOf(sheets) {
  const lines = [disclaimer(), word("notice.language"), ""].filter((line, place) => line || place === 2);
  for (const { title, parts } of sheets) {
    lines.push(title, "=".repeat(40));
    for (const { card, answer, result } of parts) lines.push(...partLines(told(card, answer, result)), "");
  }
  return lines.join("\n") + "\n";
}

export function disclaimer() {
  return `${word("disclaimer.short")} ${word("disclaimer.rest")}`;
}

function partLines(shown) {
  const lines = [];
  const point = (text) => `- ${text}`;
  if (shown.insisted) lines.push(shown.insisted);
  if (!shown.headlines.length) lines.push(word(shown.status === "out_of_scope" ? "outside.title" : "unreadable.title"));
  if (shown.unlike) lines.push(shown.unlike);
  lines.push(...shown.problems.map(point));
  for (const { main, sub, caution } of shown.headlines)
    lines.push(`${word("results.output")}: ${main}`, sub, ...(caution ? [caution] : []));
  if (shown.bars) {
    lines.push("", shown.bars.caption);
    for (const { label, value, spread } of [...shown.bars.sums, ...shown.bars.rows]) {
      const range = spread ? `; ${word("bars.spread", { low: percent(spread[0]), high: percent(spread[1]) })}` : "";
      lines.push(`  ${label}: ${percent(value)} (${value.toFixed(6)})${range}`);
    }
  }
  if (shown.trust.length)
    lines.push("", word("trust.title"), ...shown.trust.map(({ lead, text }) => `- ${lead}: ${text}`));
  if (shown.next) lines.push("", word("next.title"), shown.next.lead, ...shown.next.reasons.map(point));
  lines.push("", ...shown.made.map(([name, value]) => `${name}: ${value}`));
  return lines;
}
