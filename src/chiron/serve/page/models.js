// Which model reads the images, and what is known of it before anything is read.

import { el, fill, theirs } from "./dom.js";
import { share } from "./format.js";
import { thresholdWords } from "./told.js";
import { word } from "./words.js";

export function showModels(area, state, actions) {
  if (!state.models.length) return fill(area);
  if (state.models.length === 1)
    return fill(
      area,
      el("p", { class: "only" }, state.models[0].name),
      theirs("p", state.models[0].network, { class: "muted small" }),
    );
  const [first, second] = state.chosen;
  const others = state.models.filter((card) => card.name !== first);
  return fill(
    area,
    el(
      "div",
      { class: "models" },
      select(
        "model",
        word("models.first"),
        state.models.map((card) => card.name),
        first,
        actions.chooseFirst,
      ),
      select(
        "second",
        word("models.second"),
        ["", ...others.map((card) => card.name)],
        second ?? "",
        actions.chooseSecond,
      ),
    ),
  );
}

function select(id, label, names, chosen, choose) {
  const options = names.map((name) => {
    const option = el("option", { value: name }, name || word("models.none"));
    option.selected = name === chosen;
    return option;
  });
  return el(
    "label",
    { for: id },
    label,
    el("select", { id, onchange: (event) => choose(event.target.value) }, options),
  );
}

// Before anything is read the cards lie open; beside a result they are folded away.
export function showAbout(area, state) {
  const cards = state.cards();
  if (!cards.length) return fill(area);
  const after = state.outcome !== null;
  area.className = after ? "about after" : "about";
  return fill(
    area,
    el(after ? "h2" : "h1", { id: "about-title" }, word(after ? "about.title" : "about.welcome")),
    !after && el("p", { class: "lede" }, word("about.lede")),
    cards.map((card) =>
      after
        ? el("details", { class: "fold" }, el("summary", {}, nameOf(card)), facts(card))
        : el(
            "div",
            { class: "card" },
            el("h2", {}, card.name, " ", el("span", { class: "muted small" }, card.network)),
            facts(card),
          ),
    ),
  );
}

function nameOf(card) {
  return el("p", {}, card.name, " ", el("span", { class: "muted small" }, card.network));
}

function facts(card) {
  const use = card.intended_use ?? {};
  const classes = card.classes.map(({ name, description }) =>
    el("p", {}, name, description && theirs("span", `: ${description}`, { class: "muted" })),
  );
  const thresholds = card.questions
    .filter((it) => it.threshold)
    .map((it) => el("p", {}, thresholdWords(it.name, it.threshold)));
  const rows = [
    [word("about.question"), use.question && theirs("p", use.question)],
    [word("about.population"), use.population ? theirs("p", use.population) : word("about.not_told")],
    [word("about.reference"), use.reference_standard ? theirs("p", use.reference_standard) : word("about.not_told")],
    [word(card.several ? "about.findings" : "about.classes"), classes],
    [word("about.unit"), word(`about.unit.${card.unit}`)],
    [word("about.probabilities"), word(card.calibrated ? "trust.calibrated" : "trust.uncalibrated")],
    [word("about.threshold"), thresholds.length ? thresholds : word("made.no_threshold")],
    [word("about.sets"), card.prediction_sets && word("about.sets_at", { alpha: share(card.prediction_sets.alpha) })],
    [word("about.explanation"), word(card.explainer.may_be_shown ? "about.may_be_shown" : "about.not_shown")],
    [word("about.warnings"), (card.warnings ?? []).map((text) => theirs("p", text))],
    [word("made.bundle"), el("span", { class: "code" }, card.bundle_id)],
  ];
  return el(
    "dl",
    { class: "facts" },
    rows
      .filter(([, value]) => value && value.length !== 0)
      .map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
  );
}
