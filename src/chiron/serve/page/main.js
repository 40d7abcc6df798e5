// The page: what was chosen, what was answered, and what happens when something is asked for. Everything shown is drawn
// from `state`, so that a new language or a problem loses nothing.

import { Problem, explain, hasToken, models, predict, useToken } from "./api.js";
import { el, fill } from "./dom.js";
import { asImage, mayBeSent, showImages } from "./images.js";
import { showAbout, showModels } from "./models.js";
import { problemBox } from "./problems.js";
import { idOf, showResults } from "./results.js";
import { showToken } from "./token.js";
import { firstLanguage, language, speak, word } from "./words.js";

const state = {
  models: [],
  chosen: [null, null],
  images: [],
  together: false,
  withImage: true,
  running: false,
  problem: null,
  tokenWanted: false,
  tokenRefused: false,
  outcome: null, // {images, together, runs: [{card, answer}]}: of the images as they were
  maps: new Map(), // explanations by model, image and class
  failed: new WeakMap(), // results that were asked for again, in vain
  cards: () => state.chosen.map((name) => state.models.find((card) => card.name === name)).filter(Boolean),
};
const area = (id) => document.getElementById(id);

const actions = {
  add(files) {
    state.images.push(...Array.from(files, asImage));
    say(word("images.said", { n: state.images.length }));
    showControls();
  },
  remove(image) {
    const place = state.images.indexOf(image);
    state.images.splice(place, 1);
    showControls();
    (document.querySelectorAll(".remove")[place] ?? area("files")).focus();
    say(word("images.said", { n: state.images.length }));
  },
  clear() {
    state.images = [];
    showControls();
    area("files").focus();
  },
  setTogether(together) {
    state.together = together;
  },
  chooseFirst(name) {
    choose([name, state.chosen[1] === name ? null : state.chosen[1]]);
  },
  chooseSecond(name) {
    choose([state.chosen[0], name || null]);
  },
  async enterToken(given) {
    useToken(given);
    state.tokenWanted = state.tokenRefused = false;
    state.problem = null;
    await (state.models.length ? run() : start());
  },
  async insist(part, sheet, button) {
    button.setAttribute("aria-disabled", "true");
    const files = sheet.images.map((image) => image.file);
    const together = Boolean(part.answer.unit);
    try {
      const again = await predict(part.card.name, files, { together, insist: true });
      if (together) part.answer.unit = again.unit;
      else part.answer.results[sheet.place] = { ...again.results[0], index: sheet.place };
      say(word("outside.insisted"));
    } catch (problem) {
      state.failed.set(part.result, known(problem));
    }
    showAll();
    area(idOf(sheet)).focus({ preventScroll: true });
  },
  async explain({ card, image, className }, kept) {
    kept.problem = null;
    try {
      kept.answer = await explain(card.name, image.file, className);
    } catch (problem) {
      kept.problem = known(problem);
    }
  },
  say,
};

async function start() {
  const answer = await attempt(models);
  if (answer) {
    state.models = answer.models;
    state.chosen = [answer.models[0]?.name ?? null, null];
  }
  showAll();
}

async function run() {
  if (state.running || !mayBeSent(state)) return;
  state.running = true;
  state.problem = null;
  showControls();
  say(word("run.running"));
  const images = [...state.images];
  const files = images.map((image) => image.file);
  const together = state.together && state.cards().every((card) => card.unit !== "image");
  const cards = state.cards();
  const answers = await attempt(() => Promise.all(cards.map((card) => predict(card.name, files, { together }))));
  state.running = false;
  if (answers) state.outcome = { images, runs: cards.map((card, place) => ({ card, answer: answers[place] })) };
  showAll();
  if (!answers) return;
  say(word("results.said", { n: images.length }));
  area("results").focus({ preventScroll: true });
  area("results").scrollIntoView({ block: "start" });
}

// What `ask` gives, or null with the problem shown. A server that wants a token, or another one, is asked with a field.
async function attempt(ask) {
  try {
    return await ask();
  } catch (problem) {
    state.problem = known(problem);
    if (state.problem.status === 401) {
      state.tokenRefused = hasToken();
      state.tokenWanted = true;
      state.problem = null;
    }
    return null;
  }
}

// A mistake of this page is no problem of the server's: it goes to the console.
function known(problem) {
  if (problem instanceof Problem) return problem;
  throw problem;
}

function choose(names) {
  state.chosen = names;
  if (!state.cards().some((card) => card.unit !== "image")) state.together = false;
  showControls();
  showAbout(area("about"), state);
}

function showControls() {
  showModels(area("models"), state, actions);
  showImages(area("images"), state, actions);
  showToken(area("token"), state, actions);
  const idle = state.running || !mayBeSent(state);
  fill(
    area("run"),
    el(
      "div",
      { class: "run" },
      state.problem && problemBox(state.problem),
      el(
        "button",
        {
          type: "submit",
          id: "run-button",
          class: state.running ? "primary busy" : "primary",
          "aria-disabled": idle ? "true" : null,
        },
        word(state.running ? "run.running" : "run.ask"),
      ),
      !state.models.length &&
        state.problem &&
        el("button", { type: "button", id: "again", class: "plain", onclick: again }, word("run.again")),
    ),
  );
}

function again() {
  state.problem = null;
  start();
}

function showAll() {
  const unreviewed = word("notice.language");
  area("unreviewed").textContent = unreviewed;
  area("unreviewed").hidden = !unreviewed;
  for (const button of document.querySelectorAll(".language"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  showControls();
  showResults(area("results"), state, actions);
  showAbout(area("about"), state);
}

function say(sentence) {
  area("said").textContent = sentence;
}

area("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
for (const button of document.querySelectorAll(".language"))
  button.addEventListener("click", async () => {
    await speak(button.dataset.language);
    showAll();
  });
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.querySelector(".drop")?.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.querySelector(".drop")?.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.querySelector(".drop")?.classList.remove("over");
  if (event.dataTransfer.files.length) actions.add(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) actions.add(event.clipboardData.files);
});

await speak(firstLanguage());
await start();
