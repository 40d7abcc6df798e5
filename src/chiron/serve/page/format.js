// Numbers, sizes and times as they are shown. What is shown is rounded; what is saved as JSON is not.

import { language, word } from "./words.js";

// A probability of 0 to 1 in percent. Nothing short of certain is shown as 0 or 100.
export function percent(share) {
  if (share > 0 && share < 0.0005) return word("percent.below", { n: "0.1" });
  if (share < 1 && share >= 0.9995) return word("percent.above", { n: "99.9" });
  return word("percent", { n: (100 * share).toFixed(1) });
}

// A share that was promised or set: 90 %, 99.5 %.
export function share(value) {
  const shown = Math.round(1000 * value) / 10;
  return word("percent", { n: String(shown) });
}

export function interval(low, high) {
  const inner = (value) => (100 * value).toFixed(1);
  return word("interval", { low: inner(low), high: inner(high) });
}

export function megabytes(bytes) {
  const size = bytes / 1e6;
  return size < 0.1 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${size.toFixed(1)} MB`;
}

export function dateAndTime(when) {
  return new Intl.DateTimeFormat(language === "zh" ? "zh-CN" : "en-GB", {
    dateStyle: "medium",
    timeStyle: "short",
  }).format(when);
}

// 20261122_134501, for names of files.
export function stamp(when) {
  const two = (value) => String(value).padStart(2, "0");
  const day = `${when.getFullYear()}${two(when.getMonth() + 1)}${two(when.getDate())}`;
  return `${day}_${two(when.getHours())}${two(when.getMinutes())}${two(when.getSeconds())}`;
}
