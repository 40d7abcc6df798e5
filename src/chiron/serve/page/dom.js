// Elements from data. Text is always a text node: nothing that came from outside is read as markup.

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...present(children));
  return made;
}

// Fills an area anew and puts the focus back to where it was, by id.
export function fill(area, ...children) {
  const focused = area.contains(document.activeElement) ? document.activeElement.id : "";
  area.replaceChildren(...present(children));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

// A sentence that the server wrote: English, whatever the page speaks.
export function theirs(tag, text, attributes = {}) {
  return el(tag, { lang: "en", ...attributes }, text);
}

// Elements and text; what is not there (`condition && element`) is left out.
function present(children) {
  return children
    .flat(Infinity)
    .filter((child) => child instanceof Node || (typeof child === "string" && child !== ""));
}
