// Asks for the server's token where it wants one. It is kept in memory, never stored.

import { el, fill } from "./dom.js";
import { word } from "./words.js";

export function showToken(area, state, actions) {
  if (!state.tokenWanted) return fill(area);
  const field = el("input", {
    type: "password",
    id: "token-field",
    autocomplete: "off",
    "aria-describedby": "token-note",
  });
  const enter = () => field.value && actions.enterToken(field.value);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      enter();
    }
  });
  return fill(
    area,
    el(
      "div",
      { class: "token" },
      el("label", { for: "token-field" }, word(state.tokenRefused ? "token.refused" : "token.wanted")),
      field,
      el("p", { class: "muted small", id: "token-note" }, word("token.note")),
      el("button", { type: "button", class: "plain", id: "token-enter", onclick: enter }, word("token.enter")),
    ),
  );
}
