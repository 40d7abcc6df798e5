// The results: a card for each image, or one for all images of a patient; two models stand side by side on it.

import { el, fill, theirs } from "./dom.js";
import { barList } from "./bars.js";
import { explanationOf } from "./explanation.js";
import { percent } from "./format.js";
import { tile } from "./images.js";
import { problemBox } from "./problems.js";
import { saveButtons } from "./saving.js";
import { told } from "./told.js";
import { word } from "./words.js";

// What stands on the cards: [{title, images, parts: [{card, answer, result}]}]. The page and the saved files use it.
export function sheets(outcome) {
  const { images, runs } = outcome;
  const parts = (result) => runs.map(({ card, answer }) => ({ card, answer, result: result(answer) }));
  if (runs.every(({ answer }) => answer.unit))
    return [{ title: word("results.together", { n: images.length }), images, parts: parts((answer) => answer.unit) }];
  return images.map((image, place) => ({
    title: word("results.image", { n: place + 1 }),
    images: [image],
    place,
    parts: parts((answer) => answer.results[place]),
  }));
}

export function showResults(area, state, actions) {
  if (!state.outcome) return fill(area);
  const all = sheets(state.outcome);
  return fill(
    area,
    el(
      "div",
      { class: "results-head" },
      el("h1", { id: "results-title" }, word("results.title")),
      el(
        "div",
        { class: "saves" },
        all.length > 1 && saveButtons(all, state, actions, { pictures: false }),
        el("button", { type: "button", class: "plain", onclick: () => window.print() }, word("save.print")),
      ),
    ),
    all.map((sheet) => sheetCard(sheet, state, actions)),
  );
}

function sheetCard(sheet, state, actions) {
  const compared = sheet.parts.length > 1;
  return el(
    "article",
    { class: compared ? "result compared" : "result", "aria-label": sheet.title, id: idOf(sheet), tabindex: "-1" },
    seen(sheet),
    el(
      "div",
      { class: "said" },
      compared && agreement(sheet),
      sheet.parts.map((part) => output(part, sheet, state, actions)),
    ),
    isRead(sheet) && el("div", { class: "foot-of-result" }, saveButtons([sheet], state, actions, { pictures: true })),
  );
}

export function idOf({ place }) {
  return `result-${place ?? "together"}`;
}

function isRead({ parts }) {
  return parts.some(({ result }) => result.status !== "unreadable");
}

function seen({ title, images }) {
  const many = images.length > 1;
  const tiles = images.map((image, place) => tile(image, word("images.preview", { n: place + 1 })));
  const names = images.map((image) => image.file.name || word("images.pasted"));
  return el(
    "figure",
    { class: "seen" },
    el("h2", {}, title),
    many ? el("div", { class: "strip" }, tiles) : tiles,
    el("figcaption", {}, names.join(", ")),
  );
}

// Two models of the same classes: whether they say the same. Which of them is right, nobody can tell from this.
function agreement({ parts }) {
  const named = parts.map(({ card, answer, result }) =>
    told(card, answer, result)
      .headlines.map((line) => line.main)
      .join(" / "),
  );
  if (named.some((name) => !name)) return null;
  return el("p", { class: "agreement small" }, word(named[0] === named[1] ? "compare.same" : "compare.differ"));
}

function output(part, sheet, state, actions) {
  const { card, answer, result } = part;
  const shown = told(card, answer, result);
  return el(
    "section",
    { class: "output", "aria-label": word("results.of", { model: card.name }) },
    shown.headlines.length ? says(shown, card) : noOutput(shown, part, sheet, state, actions),
    shown.bars && barList(shown.bars),
    shown.trust.length && trusted(shown.trust),
    shown.next && nextStep(shown.next),
    answer.unit && eachImage(answer, card),
    result.status === "ok" && el("div", { class: "explanations" }, explanations(part, sheet, state, actions)),
    el(
      "dl",
      { class: "made" },
      shown.made.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
  );
}

function says(shown, card) {
  return el(
    "div",
    {},
    el("p", { class: "kicker" }, card.name),
    shown.insisted &&
      el(
        "div",
        { class: "insisted" },
        el("p", { class: "caution" }, shown.insisted),
        shown.unlike && el("p", {}, shown.unlike),
        reasons(shown.problems),
      ),
    shown.headlines.map((line) =>
      el(
        "div",
        { class: "headline" },
        el("p", { class: "main" }, line.main),
        line.note && theirs("p", line.note, { class: "muted" }),
        el("p", { class: "sub muted" }, line.sub),
        line.caution && el("p", { class: "caution" }, line.caution),
      ),
    ),
  );
}

function noOutput(shown, part, sheet, state, actions) {
  const outside = shown.status === "out_of_scope";
  return el(
    "div",
    {},
    el("p", { class: "kicker" }, part.card.name),
    el(
      "div",
      { class: "outside" },
      el("p", { class: "main" }, word(outside ? "outside.title" : "unreadable.title")),
      shown.unlike && el("p", {}, shown.unlike),
      reasons(shown.problems),
      el("p", {}, word(outside ? "outside.note" : "unreadable.note")),
      outside &&
        el(
          "button",
          { type: "button", class: "plain insist", onclick: (event) => actions.insist(part, sheet, event.target) },
          word("outside.insist"),
        ),
      outside && el("p", { class: "muted small" }, word("outside.meaning")),
      state.failed.has(part.result) && problemBox(state.failed.get(part.result)),
    ),
  );
}

function trusted(points) {
  return el(
    "div",
    { class: "part trust-part" },
    el("h3", {}, word("trust.title")),
    el(
      "dl",
      { class: "trust" },
      points.map(({ lead, text, foreign }) => [el("dt", {}, lead), foreign ? theirs("dd", text) : el("dd", {}, text)]),
    ),
  );
}

function nextStep({ refer, lead, reasons: why }) {
  return el(
    "div",
    { class: refer ? "part next refer" : "part next" },
    el("h3", {}, word("next.title")),
    el("p", { class: "lead" }, lead),
    reasons(why),
  );
}

// The server's sentences.
function reasons(points) {
  if (!points.length) return null;
  return el(
    "ul",
    { class: "points" },
    points.map((text) => theirs("li", text)),
  );
}

// One a picture that was read; where no map may be shown, the reason stands once.
function explanations({ card, answer, result }, { images, place }, state, actions) {
  const className = result.prediction.predicted_class ?? "";
  const read = images.filter((_, k) => answer.results[place ?? k].status !== "unreadable");
  const all = read.map((image) =>
    explanationOf({ card, image, number: images.indexOf(image) + 1, of: images.length, className }, state, actions),
  );
  return card.explainer.may_be_shown ? all : all.slice(0, 1);
}

// What the model gives for each image of a unit by itself; the answer is that of the unit.
function eachImage(answer, card) {
  const rows = answer.results.map((result, place) => {
    const probs = result.prediction?.probabilities;
    const name = card.positive ?? result.prediction?.predicted_class;
    const value = probs
      ? `${name} ${percent(probs[name])}`
      : word(result.status === "unreadable" ? "unreadable.title" : "outside.title");
    return el(
      "li",
      {},
      word("headline.question", { question: word("results.image", { n: place + 1 }), answer: value }),
    );
  });
  return el(
    "details",
    { class: "fold" },
    el("summary", {}, word("results.each")),
    el("ul", { class: "points inner" }, rows),
  );
}
