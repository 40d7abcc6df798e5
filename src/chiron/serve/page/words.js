// The words of the page in the language chosen; kept for the next visit, switched without loading the page again.

const LANGUAGES = ["en", "zh"];
const KEPT = "chiron.language";
let words = {};

export let language = "en";

export async function speak(wanted) {
  const answer = await fetch(new URL(`words/${wanted}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`no words in ${wanted}`);
  words = await answer.json();
  language = wanted;
  document.documentElement.lang = wanted;
  keep(wanted);
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = word(node.dataset.word);
  for (const node of document.querySelectorAll("[data-word-label]"))
    node.setAttribute("aria-label", word(node.dataset.wordLabel));
}

export function firstLanguage() {
  const kept = keptLanguage();
  if (LANGUAGES.includes(kept)) return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

// The sentence of a key with its values; where one is counted (`n`), the form that its number asks for.
export function word(key, values = {}) {
  const found = words[key];
  if (found === undefined) return key;
  const sentence =
    typeof found === "string" ? found : (found[new Intl.PluralRules(language).select(values.n)] ?? found.other);
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

export function hasWord(key) {
  return words[key] !== undefined;
}

// A browser may forbid to keep anything; the page then asks its language anew.
function keep(wanted) {
  try {
    localStorage.setItem(KEPT, wanted);
  } catch {
    /* see above */
  }
}

function keptLanguage() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}
