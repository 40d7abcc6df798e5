// The images that a person gives: chosen, dropped or pasted, shown as the browser shows them, kept until taken out.

import { el, fill } from "./dom.js";
import { megabytes } from "./format.js";
import { noticeBox } from "./problems.js";
import { word } from "./words.js";

const FORM_BYTES = 16384; // of the request beside its images
let nextId = 1;

// `url` is drawn by the browser alone; a file that it cannot draw (DICOM, TIFF) gets a neutral tile.
export function asImage(file) {
  return { id: nextId++, file, url: URL.createObjectURL(file), drawable: true };
}

export function showImages(area, state, actions) {
  const few = state.images.length > 0;
  const input = el("input", {
    id: "files",
    type: "file",
    multiple: true,
    class: "unseen",
    onchange: (event) => {
      actions.add(event.target.files);
      event.target.value = "";
    },
  });
  const drop = el(
    "label",
    { class: few ? "drop few" : "drop", for: "files" },
    input,
    el("b", {}, word(few ? "images.more" : "images.drop")),
    el("span", { class: "muted small" }, word("images.kinds")),
    el("span", { class: "plain" }, word("images.choose")),
  );
  fill(
    area,
    few &&
      el(
        "ul",
        { class: "images" },
        state.images.map((image, place) => item(image, place, actions)),
      ),
    drop,
    [tooMany(state), tooMuch(state)].filter(Boolean).map(noticeBox),
    together(state, actions),
    state.images.length > 1 &&
      el("button", { type: "button", id: "clear", class: "link clear", onclick: actions.clear }, word("images.clear")),
  );
}

function item(image, place, actions) {
  return el(
    "li",
    {},
    tile(image, word("images.preview", { n: place + 1 })),
    el("p", { class: "name" }, image.file.name || word("images.pasted"), el("span", {}, megabytes(image.file.size))),
    el(
      "button",
      {
        type: "button",
        class: "remove",
        id: `remove-${image.id}`,
        title: word("images.remove_title"),
        "aria-label": word("images.remove", { name: image.file.name || word("images.pasted") }),
        onclick: () => actions.remove(image),
      },
      "×",
    ),
  );
}

export function tile(image, alt) {
  const box = el("div", { class: "tile" });
  const blank = () =>
    fill(
      box,
      el("span", { class: "suffix" }, suffixOf(image.file)),
      el("span", { class: "why" }, word("images.no_preview")),
    );
  if (!image.drawable) blank();
  else
    box.append(
      el("img", {
        src: image.url,
        alt,
        onerror: () => {
          image.drawable = false;
          blank();
        },
      }),
    );
  return box;
}

// What stands on a tile without a picture: DCM, TIF.
function suffixOf(file) {
  return file.name.match(/\.(\w{1,4})$/)?.[1].toUpperCase() ?? "?";
}

function together(state, actions) {
  const unit = state.cards().find((card) => card.unit !== "image")?.unit;
  if (!unit) return null;
  const box = el("input", {
    type: "checkbox",
    id: "together",
    onchange: (event) => actions.setTogether(event.target.checked),
  });
  box.checked = state.together;
  return el(
    "label",
    { class: "choice together", for: "together" },
    box,
    el("span", {}, word(`images.together.${unit}`)),
  );
}

// What the server would refuse is told before anything is sent.
export function mayBeSent(state) {
  return state.cards().length > 0 && state.images.length > 0 && !tooMany(state) && !tooMuch(state);
}

function tooMany(state) {
  const most = least(state, "max_images");
  return state.images.length > most ? word("images.too_many", { n: most, given: state.images.length }) : "";
}

function tooMuch(state) {
  const most = least(state, "max_bytes") - FORM_BYTES;
  const size = state.images.reduce((sum, image) => sum + image.file.size, 0);
  return size > most ? word("images.too_large", { size: megabytes(size), most: megabytes(most) }) : "";
}

function least(state, limit) {
  return Math.min(...state.cards().map((card) => card.limits?.[limit] ?? Infinity), Infinity);
}
