// The picture of a result, drawn on a canvas: black on white in every color scheme, with all that must go with it.

import { percent } from "./format.js";
import { disclaimer } from "./text.js";
import { told } from "./told.js";
import { word } from "./words.js";

const WIDTH = 1200,
  MARGIN = 56,
  IMAGE = 320,
  SCALE = 2;
const INK = "#1b2733",
  MUTED = "#55616c",
  HAIRLINE = "#d9dfe4",
  FILL = "#0069a6",
  PALE = "#7fa9c6",
  TILE = "#0f151a";
const SANS = getComputedStyle(document.documentElement).getPropertyValue("--sans");

// Drawn twice: once to find how tall it becomes.
export async function pictureOf(sheet, { withImage }) {
  const drawn = withImage ? await Promise.all(sheet.images.map(loaded)) : [];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const tall = draw(canvas.getContext("2d"), sheet, drawn, withImage);
  canvas.width = WIDTH * SCALE;
  canvas.height = tall * SCALE;
  const pen = canvas.getContext("2d");
  pen.scale(SCALE, SCALE);
  box(pen, "#fff", 0, 0, WIDTH, tall);
  draw(pen, sheet, drawn, withImage);
  return new Promise((done, failed) =>
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture"))), "image/png"),
  );
}

async function loaded(image) {
  if (!image.drawable) return null;
  const picture = new Image();
  picture.src = image.url;
  try {
    await picture.decode();
  } catch {
    return null; // a file that the browser cannot draw: the tile stays neutral
  }
  return picture;
}

function draw(pen, sheet, drawn, withImage) {
  let y = lines(pen, disclaimer(), MARGIN, MARGIN, WIDTH - 2 * MARGIN, { size: 15, weight: 600 });
  if (word("notice.language"))
    y = lines(pen, word("notice.language"), MARGIN, y, WIDTH - 2 * MARGIN, { size: 13, color: MUTED });
  rule(pen, y + 4);
  y = lines(pen, sheet.title, MARGIN, y + 28, WIDTH - 2 * MARGIN, { size: 18, weight: 600 });
  const top = y + 8;
  const left = withImage ? MARGIN + IMAGE + 48 : MARGIN;
  const below = withImage ? images(pen, drawn, top) : top;
  const gap = 48;
  const width = (WIDTH - MARGIN - left - gap * (sheet.parts.length - 1)) / sheet.parts.length;
  const ends = sheet.parts.map(({ card, answer, result }, place) =>
    part(pen, told(card, answer, result), card, left + place * (width + gap), top, width),
  );
  return Math.max(below, ...ends) + MARGIN;
}

function images(pen, drawn, top) {
  const perRow = drawn.length === 1 ? 1 : 2;
  const side = (IMAGE - 12 * (perRow - 1)) / perRow;
  drawn.forEach((picture, place) => {
    const x = MARGIN + (place % perRow) * (side + 12),
      y = top + Math.floor(place / perRow) * (side + 12);
    box(pen, TILE, x, y, side, side);
    if (!picture)
      return lines(pen, word("images.no_preview"), x + 16, y + side / 2 - 12, side - 32, {
        size: 14,
        color: "#c6d0d8",
      });
    const scale = Math.min(side / picture.naturalWidth, side / picture.naturalHeight);
    const width = picture.naturalWidth * scale,
      height = picture.naturalHeight * scale;
    pen.drawImage(picture, x + (side - width) / 2, y + (side - height) / 2, width, height);
    return undefined;
  });
  return top + Math.ceil(drawn.length / perRow) * (side + 12);
}

function part(pen, shown, card, x, top, width) {
  const put = (text, y, style = {}) => lines(pen, text, x, y, width, style);
  let y = put(`${word("results.output")}: ${card.name}`, top, { size: 14, color: MUTED }) + 6;
  if (shown.insisted) y = put(shown.insisted, y, { size: 15, weight: 600 }) + 6;
  if (!shown.headlines.length)
    y = put(word(shown.status === "out_of_scope" ? "outside.title" : "unreadable.title"), y, { size: 28, weight: 600 });
  if (shown.unlike) y = put(shown.unlike, y, { size: 14 });
  for (const text of shown.problems) y = put(`– ${text}`, y, { size: 14 });
  for (const { main, sub, caution } of shown.headlines) {
    y = put(main, y + 4, { size: 32, weight: 600 });
    y = put(sub, y, { size: 15, color: MUTED });
    if (caution) y = put(caution, y + 4, { size: 15, weight: 600 });
  }
  if (shown.bars) y = bars(pen, shown.bars, x, y + 14, width);
  if (shown.trust.length) y = put(word("trust.title"), y + 18, { size: 16, weight: 600 });
  for (const { lead, text } of shown.trust) y = put(`${lead}: ${text}`, y + 2, { size: 14 });
  if (shown.next) y = put(word("next.title"), y + 18, { size: 16, weight: 600 });
  for (const text of shown.next ? [shown.next.lead, ...shown.next.reasons.map((it) => `– ${it}`)] : [])
    y = put(text, y + 2, { size: 14 });
  y += 18;
  for (const [name, value] of shown.made) y = put(`${name}: ${value}`, y, { size: 13, color: MUTED });
  return y;
}

function bars(pen, { caption, rows, sums }, x, top, width) {
  let y = lines(pen, caption, x, top, width, { size: 16, weight: 600 }) + 4;
  for (const { label, value, at, named } of [...sums, ...rows]) {
    const weight = named ? 600 : 400,
      number = percent(value);
    const end = lines(pen, label, x, y, width - 100, { size: 15, weight });
    lines(pen, number, x + width - pen.measureText(number).width, y, width, { size: 15, weight });
    y = end + 1;
    box(pen, HAIRLINE, x, y, width, 12);
    box(pen, named ? FILL : PALE, x, y, Math.max(1, width * value), 12);
    y += 20;
    if (at === null) continue;
    box(pen, INK, x + width * at - 1, y - 24, 2, 20);
    const text = word("bars.threshold", { threshold: percent(at) });
    pen.font = `400 13px ${SANS}`;
    const long = pen.measureText(text).width;
    y = lines(pen, text, at > 0.5 ? x + width * at - long : x + width * at, y, long + 1, { size: 13, color: MUTED });
  }
  return y;
}

function box(pen, color, x, y, width, height) {
  pen.fillStyle = color;
  pen.fillRect(x, y, width, height);
}

// Writes text from `y` on, broken where it would leave `width`; returns where the next line goes.
function lines(pen, text, x, y, width, { size = 15, weight = 400, color = INK } = {}) {
  pen.font = `${weight} ${size}px ${SANS}`;
  pen.fillStyle = color;
  pen.textBaseline = "top";
  let line = "";
  for (const piece of pieces(text)) {
    if (line && pen.measureText((line + piece).trimEnd()).width > width) {
      pen.fillText(line.trimEnd(), x, y);
      y += size * 1.4;
      line = piece.trimStart();
    } else line += piece;
  }
  pen.fillText(line.trimEnd(), x, y);
  return y + size * 1.4;
}

// Where a line may break: after a space that is not tied, a hyphen or a slash, and before each Chinese sign.
function pieces(text) {
  return text.match(/[\u3400-\u9fff][\u3000-\u303f\uff00-\uffef]*|[^ \-/\u3400-\u9fff]+[ \-/]?|[ \-/]/g) ?? [];
}

function rule(pen, y) {
  box(pen, INK, MARGIN, y, WIDTH - 2 * MARGIN, 1.5);
}
