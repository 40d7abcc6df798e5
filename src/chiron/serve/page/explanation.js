// Where the model reacted: closed until asked for, and left out where its explainer did not pass on this bundle.

import { el, fill, theirs } from "./dom.js";
import { problemBox } from "./problems.js";
import { word } from "./words.js";

// `about` = {card, image, number, of, className}. What was fetched is kept in `state.maps`: it survives a new language.
export function explanationOf(about, state, actions) {
  const { card, number, of } = about;
  const title = of > 1 && card.explainer.may_be_shown ? word("explain.title_of", { n: number }) : word("explain.title");
  if (!card.explainer.may_be_shown) return withheld(title, card.explainer);
  const key = `${card.name} ${about.image.id} ${about.className}`;
  const kept = state.maps.get(key) ?? { open: false };
  const inner = el("div", { class: "inner", "aria-live": "polite" }, contents(kept));
  const details = el(
    "details",
    { class: "fold explanation" },
    el("summary", {}, el("p", {}, title, " ", el("span", {}, word("explain.where")))),
    inner,
  );
  details.open = kept.open;
  details.addEventListener("toggle", async () => {
    if (details.open === kept.open && state.maps.has(key)) return;
    kept.open = details.open;
    state.maps.set(key, kept);
    if (!kept.open || kept.answer) return;
    fill(inner, el("p", { class: "busy" }, word("explain.running")));
    await actions.explain(about, kept);
    fill(inner, contents(kept));
  });
  return details;
}

function withheld(title, explainer) {
  return el(
    "div",
    { class: "part withheld" },
    el("h3", {}, title),
    el("p", { class: "small" }, word(explainer.method ? "explain.withheld" : "explain.none")),
    explainer.method && theirs("p", `${explainer.method}: ${explainer.words}.`, { class: "small" }),
    reasonsOf(explainer.reasons),
  );
}

function contents(kept) {
  if (kept.problem) return [problemBox(kept.problem), reasonsOf(kept.problem.reasons)];
  if (!kept.answer) return [];
  const { answer } = kept;
  return [
    el("p", { class: "small" }, word("explain.note", { class: answer.class_name })),
    el(
      "div",
      { class: "maps" },
      picture(answer.image_png, word("explain.seen")),
      picture(answer.saliency_png, word("explain.map")),
    ),
    scores(answer),
    theirs("p", `${answer.method} is ${answer.verdict.words}.`, { class: "small muted" }),
  ];
}

function picture(png, caption) {
  return el(
    "figure",
    {},
    el("img", { src: `data:image/png;base64,${png}`, alt: caption }),
    el("figcaption", {}, caption),
  );
}

// Those of this one map; the others that the server gives are parts of these.
const SCORES = ["deletion_gain", "insertion_gain", "road", "stability", "randomization", "pointing", "iou"];

function scores(answer) {
  const given = SCORES.filter((name) => typeof answer.scores?.[name] === "number");
  return el(
    "dl",
    { class: "scores" },
    given.map((name) => [
      el("dt", {}, word(`score.${name}`)),
      el("dd", {}, answer.scores[name].toFixed(2), el("span", { class: "muted" }, word(`score.${name}.meaning`))),
    ]),
  );
}

function reasonsOf(reasons) {
  return reasons?.length
    ? el(
        "ul",
        { class: "points" },
        reasons.map((text) => theirs("li", text)),
      )
    : null;
}
