// What went wrong, in plain words: in the language of the page where it knows the kind, with the server's own sentence.

import { el, theirs } from "./dom.js";
import { hasWord, word } from "./words.js";

export function problemBox(problem) {
  const key = `problem.${problem.kind}`;
  const wait = problem.seconds ? " " + word("problem.wait", { n: problem.seconds }) : "";
  if (!hasWord(key)) return box(problem.sentence ? theirs("span", problem.sentence) : word("problem.odd_answer"), wait);
  return box(word(key), wait, problem.sentence && theirs("p", problem.sentence, { class: "muted small" }));
}

// The same for what the page finds out by itself.
export function noticeBox(text) {
  return box(text);
}

function box(...sentences) {
  return el("div", { class: "problem", role: "alert" }, el("strong", {}, word("problem.title")), ...sentences);
}
