// The server's answers, and one kind of problem for everything that can go wrong on the way.

let token = "";

export class Problem extends Error {
  // `kind` is the server's, or one of the page's own: `gone`, `odd_answer`. `sentence` is the server's, in English.
  constructor(kind, sentence = "", { status = 0, seconds = null, reasons = [] } = {}) {
    super(sentence || kind);
    Object.assign(this, { kind, sentence, status, seconds, reasons });
  }
}

// Kept in memory alone: gone when the page is closed.
export function useToken(given) {
  token = given;
}

export function hasToken() {
  return token !== "";
}

export function models() {
  return ask("api/models");
}

export function predict(model, files, { together = false, insist = false } = {}) {
  const form = new FormData();
  files.forEach((file, place) => form.append("images", file, `image-${place + 1}`)); // names of files stay here
  form.append("model", model);
  form.append("together", String(together));
  form.append("insist", String(insist));
  return ask("api/predict", form);
}

export function explain(model, file, className) {
  const form = new FormData();
  form.append("image", file, "image");
  form.append("model", model);
  if (className) form.append("class_name", className);
  return ask("api/explain", form);
}

async function ask(path, form) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let answer;
  try {
    answer = await fetch(path, { method: form ? "POST" : "GET", body: form, headers, cache: "no-store" });
  } catch {
    throw new Problem("gone");
  }
  let body;
  try {
    body = await answer.json();
  } catch {
    throw new Problem("odd_answer", `HTTP ${answer.status}`);
  }
  if (answer.ok) return body;
  const seconds = Number(answer.headers.get("Retry-After")) || null;
  throw new Problem(body.kind ?? "odd_answer", body.error ?? `HTTP ${answer.status}`, {
    status: answer.status,
    seconds,
    reasons: body.reasons,
  });
}
