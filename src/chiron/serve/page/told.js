// What is told of one result, as plain data: the page, the text file and the picture all show this and nothing else.
// `problems`, `reasons` and points that are `foreign` are the server's own sentences, in English.

import { dateAndTime, interval, percent, share } from "./format.js";
import { word } from "./words.js";

export function told(card, answer, result) {
  const prediction = result.prediction;
  const shown = Object.keys(prediction?.probabilities ?? {}).length > 0;
  return {
    status: result.status,
    headlines: shown ? headlines(card, result) : [],
    insisted: shown && result.status === "out_of_scope" ? word("outside.insisted") : "",
    bars: shown ? bars(card, prediction) : null,
    trust: shown ? trust(card, result) : [],
    next: prediction ? next(result) : null,
    unlike: unlike(prediction?.scope),
    problems: problems(result),
    made: made(card, answer, result),
  };
}

function headlines(card, result) {
  const { prediction } = result;
  const asked = Object.entries(prediction.decisions ?? {});
  const answers = asked.map(([question, said]) => questionLine(card, result, question, said));
  if (prediction.classes_above_half !== undefined) return answers.length ? answers : [severalLine(prediction)];
  const twoClasses = card.positive !== null && card.classes.length === 2;
  const decided = asked.some(([, said]) => said.threshold !== null);
  return twoClasses && decided ? answers : [classLine(card, result), ...(twoClasses ? [] : answers)];
}

function questionLine(card, result, question, said) {
  const { prediction } = result;
  const yes = said.answer === "yes";
  const values = { score: percent(said.score), threshold: said.threshold === null ? "" : percent(said.threshold) };
  let sub = word("headline.by_class");
  if (said.threshold !== null) sub = word(yes ? "headline.reached" : "headline.not_reached", values);
  const likely = prediction.predicted_class; // told where the threshold says otherwise
  if (likely && said.threshold !== null && card.classes.length === 2 && (likely === question) !== yes)
    sub += " " + word("headline.probable", { class: likely, p: percent(prediction.confidence) });
  const main = word("headline.question", { question, answer: word(yes ? "yes" : "no") });
  return { main, sub, caution: yes ? "" : ruledOut(result, question) };
}

function classLine(card, result) {
  const { prediction } = result;
  const name = prediction.predicted_class;
  const negative = card.positive !== null && card.classes.length === 2 && name !== card.positive;
  const sub = word("headline.class", { p: percent(prediction.confidence) });
  return {
    main: name,
    note: prediction.predicted_class_description,
    sub,
    caution: negative ? ruledOut(result, card.positive) : "",
  };
}

function severalLine(prediction) {
  const named = prediction.classes_above_half;
  const main = named.length ? named.join(", ") : word("headline.none");
  return { main, sub: word("headline.several"), caution: word("caution.several") };
}

// A negative answer never rules anything out; how often it missed is told where it was counted.
function ruledOut(result, question) {
  const counted = (result.experience ?? []).find((it) => it.question === question && it.missed?.of);
  if (!counted) return word("caution.no", { question }) + " " + word("caution.uncounted");
  const { missed, of, low, high } = counted.missed;
  return word("caution.counted", {
    question,
    missed,
    n: of,
    share: percent(missed / of),
    interval: interval(low, high),
  });
}

function bars(card, prediction) {
  const single = prediction.classes_above_half === undefined;
  const thresholds = new Map();
  const sums = [];
  for (const [question, said] of Object.entries(prediction.decisions ?? {})) {
    const classes = card.questions.find((it) => it.name === question)?.classes ?? [question];
    if (classes.length === 1 && classes[0] in prediction.probabilities) thresholds.set(classes[0], said.threshold);
    else
      sums.push({
        label: question,
        note: classes.join(" + "),
        value: said.score,
        at: said.threshold,
        named: said.answer === "yes",
      });
  }
  const asked = card.classes.length === 2 ? card.positive : null; // of two classes one is asked for: it stands first
  const named = new Set(single ? [asked ?? prediction.predicted_class] : prediction.classes_above_half);
  const rows = Object.entries(prediction.probabilities).map(([label, value]) => ({
    label,
    note: description(card, label),
    value,
    at: thresholds.get(label) ?? null,
    named: named.has(label),
    spread: prediction.spread?.[label],
  }));
  if (single) rows.sort((a, b) => (b.label === asked) - (a.label === asked) || b.value - a.value);
  const calibrated = word(prediction.calibrated ? "bars.calibrated" : "bars.own");
  const caption = word(single ? "bars.single" : "bars.several", { kind: calibrated });
  return { caption, rows, sums };
}

function description(card, name) {
  return card.classes.find((it) => it.name === name)?.description ?? "";
}

function trust(card, result) {
  const { prediction } = result;
  const points = [];
  const point = (lead, text, foreign = false) => points.push({ lead: word(`lead.${lead}`), text, foreign });
  const experience = result.experience ?? [];
  for (const it of experience) point("experience", experienceWords(it));
  if (!experience.length) point("experience", word("trust.no_experience"));
  for (const population of new Set(experience.map((it) => it.population))) point("population", population, true);
  point("calibration", word(prediction.calibrated ? "trust.calibrated" : "trust.uncalibrated"));
  for (const [question, said] of Object.entries(prediction.decisions ?? {})) {
    const threshold = card.questions.find((it) => it.name === question)?.threshold;
    if (threshold && said.threshold !== null) point("threshold", thresholdWords(question, threshold));
  }
  if (prediction.prediction_set) point("set", setWords(card, prediction));
  if (prediction.scope) point("scope", word("trust.scope", { share: share(prediction.scope.percentile / 100) }));
  if (card.unit !== "image" && !isUnit(result)) point("unit", word(`trust.one_of.${card.unit}`));
  point("interval", word(prediction.spread ? "trust.spread" : "trust.no_interval"));
  return points;
}

export function thresholdWords(question, threshold) {
  const known = threshold.low !== null && threshold.high !== null;
  const range = known ? interval(threshold.low, threshold.high) : word("threshold.no_interval");
  const values = { question, value: percent(threshold.value), range };
  if (threshold.sensitivity_promised === null) return word("threshold.youden", values);
  return word(`threshold.${threshold.rule}`, { ...values, sensitivity: share(threshold.sensitivity_promised) });
}

function experienceWords(it) {
  const about = it.question
    ? word("experience.question", { question: it.question })
    : word("experience.class", namedAt(it));
  if (!it.of) return word("experience.few", { about });
  return word("experience.counted", {
    about,
    right: it.right,
    n: it.of,
    share: percent(it.right / it.of),
    interval: interval(it.low, it.high),
  });
}

// Cases are counted by the class named and its probability, which the server gives as "90% to 100%".
function namedAt(it) {
  const [low, high] = it.output.match(/\d+/g);
  return { class: it.class, low, high };
}

function setWords(card, prediction) {
  const held = prediction.prediction_set;
  const alpha = share(card.prediction_sets?.alpha ?? 0);
  if (!held.length) return word("set.empty", { alpha });
  return word(held.length === card.classes.length ? "set.full" : "set.some", { classes: held.join(", "), alpha });
}

function next(result) {
  const { referral } = result.prediction;
  const told = problems(result); // stand with the output already
  const reasons = (referral?.reasons ?? []).filter((it) => !told.some((problem) => problem.includes(it)));
  const lead = referral?.refer ? word("next.refer") : word(referral ? "next.no_rule" : "next.person");
  return { refer: Boolean(referral?.refer), lead, reasons };
}

// What speaks against the image itself.
function problems(result) {
  return result.problem ? [result.problem] : [];
}

// Said where the distance alone puts an image out of scope, too.
function unlike(scope) {
  if (!scope || scope.distance <= scope.limit) return "";
  return word("outside.unlike", { share: share(scope.percentile / 100) });
}

function made(card, answer, result) {
  const rows = [
    [word("made.model"), `${card.name} (${card.network})`],
    [word("made.bundle"), answer.bundle_id],
    [word("made.date"), dateAndTime(new Date(answer.time))],
    [word("made.version"), `Chiron ${answer.chiron_version}`],
  ];
  const thresholds = card.questions
    .filter((it) => it.threshold)
    .map((it) => `${it.name} ${percent(it.threshold.value)}`);
  rows.splice(2, 0, [word("made.threshold"), thresholds.join(", ") || word("made.no_threshold")]);
  if (result.input_sha256_keyed) rows.push([word("made.image"), result.input_sha256_keyed.slice(0, 16)]);
  return rows;
}

// Of all images of a unit together; the server counts it as image -1.
function isUnit(result) {
  return result.index < 0;
}
