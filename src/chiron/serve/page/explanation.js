// Where the model reacted: closed until asked for, and left out where its explainer did not pass on this bundle.

import { el, theirs } from "./dom.js";
import { problemBox } from "./problems.js";
import { word } from "./words.js";

// `about` = {card, image, place, className}; what was fetched is kept in `state.maps`, so that it survives a new language.
export function explanationOf(about, state, actions) {
  const { card, place, of } = about;
  const title = of > 1 ? word("explain.title_of", { n: place + 1 }) : word("explain.title");
  if (!card.explainer.may_be_shown) return withheld(title, card.explainer);
  const key = `${card.name} ${about.image.id} ${about.className}`;
  const kept = state.maps.get(key) ?? { open: false };
  const inner = el("div", { class: "inner", "aria-live": "polite" }, contents(kept));
  const details = el("details", { class: "explanation" }, el("summary", {}, title, el("span", {}, word("explain.where"))), inner);
  details.open = kept.open;
  details.addEventListener("toggle", async () => {
    if (details.open === kept.open && state.maps.has(key)) return;
    kept.open = details.open;
    state.maps.set(key, kept);
    if (!kept.open || kept.answer) return;
    inner.replaceChildren(el("p", { class: "busy" }, word("explain.running")));
    await actions.explain(about, kept);
    inner.replaceChildren(...contents(kept));
  });
  return details;
}

function withheld(title, explainer) {
  return el(
    "div",
    { class: "part withheld" },
    el("h3", {}, title),
    el("p", { class: "small" }, word(explainer.method ? "explain.withheld" : "explain.none")),
    explainer.method && el("p", { class: "small" }, theirs("span", `${explainer.method}: ${explainer.words}.`)),
    reasonsOf(explainer.reasons),
  );
}

function contents(kept) {
  if (kept.problem) return [problemBox(kept.problem), reasonsOf(kept.problem.body?.reasons)].filter(Boolean);
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
    el("p", { class: "small muted" }, theirs("span", `${answer.method} ${answer.verdict.words.startsWith("is") ? "" : "is "}${answer.verdict.words}.`)),
  ].filter(Boolean);
}

function picture(png, caption) {
  return el("figure", {}, el("img", { src: `data:image/png;base64,${png}`, alt: caption }), el("figcaption", {}, caption));
}

function scores(answer) {
  const rows = Object.entries(answer.scores ?? {}).filter(([, value]) => typeof value === "number");
  if (!rows.length) return null;
  return el("dl", { class: "made" }, rows.map(([name, value]) => [theirs("dt", name), el("dd", {}, value.toFixed(2))]));
}

function reasonsOf(reasons) {
  return reasons?.length ? el("ul", { class: "points" }, reasons.map((text) => theirs("li", text))) : null;
}
