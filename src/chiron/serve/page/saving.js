// Saves results as a picture, as text and as data. Nothing that is saved holds the name of an image's file.

import { stamp } from "./format.js";
import { pictureOf } from "./picture.js";
import { disclaimer, textOf } from "./text.js";
import { el } from "./dom.js";
import { word } from "./words.js";

export function saveButtons(sheets, state, actions, { pictures }) {
  const when = new Date(sheets[0].parts[0].answer.time);
  const number = sheets.length === 1 && sheets[0].place !== undefined ? `_${sheets[0].place + 1}` : "";
  const name = (suffix) => `chiron_result_${stamp(when)}${number}.${suffix}`;
  const button = (kind, make) =>
    el(
      "button",
      {
        type: "button",
        class: "plain",
        "data-save": kind,
        onclick: async () => {
          download(await make(), name(kind));
          actions.say(word("save.done"));
        },
      },
      word(`save.${kind}`),
    );
  const box = el("input", { type: "checkbox", class: "with-image", onchange: () => choose(state, box.checked) });
  box.checked = state.withImage;
  return el(
    "div",
    { class: "saves", role: "group", "aria-label": word("save.title") },
    el("span", { class: "muted" }, word(pictures ? "save.title" : "save.all")),
    pictures && button("png", () => pictureOf(sheets[0], { withImage: state.withImage })),
    button("txt", () => new Blob([textOf(sheets)], { type: "text/plain;charset=utf-8" })),
    button("json", () => new Blob([JSON.stringify(dataOf(sheets), null, 1)], { type: "application/json" })),
    pictures && el("label", { class: "choice" }, box, el("span", {}, word("save.with_image"))),
  );
}

// One choice for all results: every box shows it.
function choose(state, withImage) {
  state.withImage = withImage;
  for (const box of document.querySelectorAll(".with-image")) box.checked = withImage;
}

// What the server answered, with the model's card that the numbers belong to.
function dataOf(sheets) {
  const results = sheets.map(({ parts }) =>
    parts.map(({ card, answer, result }) => ({
      model: card.name,
      network: card.network,
      bundle_id: answer.bundle_id,
      time: answer.time,
      chiron_version: answer.chiron_version,
      questions: card.questions,
      calibrated: card.calibrated,
      result,
    })),
  );
  return {
    format: "chiron-page-result 1",
    disclaimer: sheets[0].parts[0].answer.disclaimer,
    shown: disclaimer(),
    results,
  };
}

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
