// The page: what the reader chooses, what is drawn. The model itself is in worker.js and gpt2.js.
import { changeScores, NO_CHANGE, reaches, softmaxRow } from "./gpt2.js";

const allWords = JSON.parse(document.getElementById("words").textContent); // {vi: {name: text}, en: …}
let words = allWords[document.documentElement.lang];
const at = (id) => document.getElementById(id);
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

// Light or dark: what the reader chose on the site's pages, else what the machine prefers.
function chooseTheme() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // a page that may store nothing
  }
  const own = prefersDark.matches ? "dark" : "light";
  document.documentElement.dataset.theme = ["light", "dark"].includes(chosen) ? chosen : own;
}
chooseTheme();

const LIMIT = 64; // tokens that are shown: a change then shows at once
const CELL = 17; // pixels of one on the large map, at least
const number = (x, digits = 2) => {
  const rounded = Number(x.toFixed(digits)) + 0; // no −0
  return rounded.toLocaleString(words.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");
};
const isHidden = (score) => score <= -1e8; // hidden keys have no score
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// Everything that a link holds.
const START = { text: words.examples?.[0], layer: 2, head: 1, query: null, key: 0, kind: "weights", scope: "all", model: "trained", film: null, at: null, change: {} };
let state = fromLink();
let plain = null; // the record as the model is, with what it is of: {of: [text, model], …}
let shown = null; // the record under the change

// The state in the address; whatever in it is none is left out.
function fromLink() {
  let found = {};
  try {
    found = Object(JSON.parse(decodeURIComponent(location.hash.slice(1) || "%7B%7D")));
  } catch {
    // a link that was cut
  }
  const whole = (x) => Number.isInteger(x) && x >= 0;
  const within = (low, high) => (x) => typeof x === "number" && x >= low && x <= high;
  const one = (...names) => (x) => names.includes(x);
  const take = (from, checks) => Object.fromEntries(Object.keys(checks).filter((name) => checks[name](from[name])).map((name) => [name, from[name]]));
  const change = { add: within(-100, 100), spread: within(0, 4), clip: one(true), hide: whole, keep: one("level", "position", "content") };
  const checks = {
    text: (x) => typeof x === "string", layer: whole, head: whole, query: whole, key: whole, film: whole,
    at: one("change-title", "heads-title", "head-title", "film-title"), kind: one("weights", "scores"), scope: one("all", "head"), model: one("trained", "untrained"),
  };
  return { ...START, ...take(found, checks), change: take(Object(found.change), change) };
}

// ---- where records come from: ask(text, change, limit, model) -> a promise of one

function askTheModel() {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const waiting = new Map();
  worker.onmessage = ({ data }) => {
    const { resolve, reject } = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error) reject(new Error(data.error));
    else resolve(data.record);
  };
  worker.onerror = () => showStatus(words.failed);
  let asked = 0;
  return (text, change, limit, of) => new Promise((resolve, reject) => {
    waiting.set(++asked, { resolve, reject });
    worker.postMessage({ id: asked, text, change, limit, of });
  });
}

// A record that the page itself holds: scores of the past in 16 bits, each head's from its lowest to its highest one.
function askTheRecord({ tokens, nLayers, nHeads, headSize, low, step, scores }) {
  const n = tokens.length;
  const numbers = new Uint16Array(Uint8Array.from(atob(scores), (letter) => letter.charCodeAt(0)).buffer);
  const rawScores = new Float32Array(nLayers * nHeads * n * n);
  let next = 0;
  for (let head = 0; head < nLayers * nHeads; head++) {
    for (let query = 0; query < n; query++) {
      for (let key = 0; key <= query; key++) rawScores[(head * n + query) * n + key] = low[head] + step[head] * numbers[next++];
    }
  }
  return async (_, asked) => {
    const [changed, change] = [Float32Array.from(rawScores), { ...NO_CHANGE, ...asked }];
    for (let i = 0; i < nLayers * nHeads; i++) {
      const from = i * n * n;
      if (!reaches(change, Math.floor(i / nHeads), i % nHeads)) continue;
      changed.set(changeScores(rawScores.subarray(from, from + n * n), n, change), from);
    }
    return { tokens, rawScores: changed, nLayers, nHeads, headSize, nLeftOut: 0 };
  };
}

const held = document.getElementById("record");
const ask = held ? askTheRecord(JSON.parse(held.textContent)) : askTheModel();

function wholeChange() {
  const scope = state.scope === "head" ? { layer: state.layer, head: state.head } : {};
  return { ...NO_CHANGE, ...state.change, ...scope };
}

const isChanged = () => Object.entries(state.change).some(([name, value]) => value !== NO_CHANGE[name]);

let latest = 0;

// Run what is new: the text as the model is, and under the change; then draw.
async function run() {
  const turn = ++latest;
  showStatus(words.running);
  const of = JSON.stringify([state.text, state.model]);
  try {
    const untouched = plain?.of === of ? plain : await ask(state.text, {}, LIMIT, state.model);
    if (state.change.hide >= untouched.tokens.length - 1) state.change.hide = null; // a key that nobody looks back at
    const changed = isChanged() ? await ask(state.text, wholeChange(), LIMIT, state.model) : untouched;
    if (turn !== latest) return; // something newer was asked meanwhile
    [plain, shown] = [Object.assign(untouched, { of }), changed];
  } catch (error) {
    if (turn !== latest) return;
    [plain, shown] = [null, null];
    document.body.classList.add("without-record");
    showStatus(error.message.startsWith("text:") ? words.empty : `${words.failed} (${error.message})`);
    return;
  }
  document.body.classList.remove("without-record");
  showWhatWasRead();
  const asked = state.at; // what a link asks to be looked at, once
  state = { ...state, at: null };
  draw();
  if (asked) at(asked).scrollIntoView();
}

function showWhatWasRead() {
  const said = fill(plain.nLeftOut ? words.cut : words.tokens, { n: plain.tokens.length, left: plain.nLeftOut });
  showStatus(held ? `${plain.tokens.join("")} (${said})` : said);
}

// ---- pictures

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function scoresOf(record, layer, head) {
  const size = record.tokens.length ** 2;
  const from = (layer * record.nHeads + head) * size;
  return record.rawScores.subarray(from, from + size);
}

// A record's weights, computed once: several pictures show them.
function weightsOf(record, layer, head) {
  const [n, scores] = [record.tokens.length, scoresOf(record, layer, head)];
  record.weights ??= [];
  return (record.weights[layer * record.nHeads + head] ??= weightsFrom(scores, n, record.headSize));
}

function weightsFrom(scores, n, headSize) {
  const weights = new Float32Array(n * n);
  for (let query = 0; query < n; query++) {
    weights.set(softmaxRow(scores.subarray(query * n, (query + 1) * n), query, headSize), query * n);
  }
  return weights;
}

// Colours [cell, rgba] of a head: weights from paper to ink, scores from red through 0 to blue; hidden keys are not scores.
function colours(record, layer, head, kind) {
  const n = record.tokens.length;
  const scores = scoresOf(record, layer, head);
  const values = kind === "weights" ? weightsOf(record, layer, head) : scores;
  const names = ["zero", "negative", kind === "weights" ? "weight" : "positive", "hidden"];
  const [zero, low, high, hidden] = names.map((name) => channels(colour(name)));
  const rgba = new Uint8ClampedArray(4 * n * n);
  let reach = 1e-9;
  for (let i = 0; i < n * n; i++) if (i % n <= Math.floor(i / n) && !isHidden(values[i])) reach = Math.max(reach, Math.abs(values[i]));
  for (let i = 0; i < n * n; i++) {
    const share = Math.min(1, Math.abs(values[i]) / reach);
    const [from, to] = i % n > Math.floor(i / n) || isHidden(scores[i]) ? [hidden, hidden] : [zero, values[i] < 0 ? low : high];
    const part = kind === "weights" ? Math.sqrt(share) : share;
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = from[c] + part * (to[c] - from[c]);
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}

function paint(canvas, record, layer, head, kind) {
  const n = record.tokens.length;
  [canvas.width, canvas.height] = [n, n];
  canvas.getContext("2d").putImageData(new ImageData(colours(record, layer, head, kind), n, n), 0, 0);
}

// A canvas of so many CSS pixels, sharp on every screen; its context, and how large it is.
function sheet(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(height * scale)];
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.clearRect(0, 0, width, height);
  context.font = "13px 'Noto Sans', 'DejaVu Sans', sans-serif";
  context.fillStyle = colour("ink");
  return context;
}

const seen = (token) => token.replace(/ /g, "·").replace(/\n/g, "↵");

function drawThumbnails() {
  const box = at("thumbnails");
  const { nLayers, nHeads } = shown;
  if (box.children.length !== nLayers * nHeads) {
    box.style.gridTemplateColumns = `repeat(${innerWidth < 700 ? nHeads : 2 * nHeads}, minmax(0, 1fr))`;
    box.replaceChildren(...Array.from({ length: nLayers * nHeads }, (_, i) => {
      const [layer, head, button] = [Math.floor(i / nHeads), i % nHeads, document.createElement("button")];
      button.type = "button";
      button.append(document.createElement("canvas"), `${layer}.${head}`);
      button.setAttribute("aria-label", fill(words.head, { layer, head }));
      button.onclick = () => choose({ layer, head });
      return button;
    }));
  }
  Array.from(box.children).forEach((button, i) => {
    const [layer, head] = [Math.floor(i / nHeads), i % nHeads];
    paint(button.firstChild, shown, layer, head, state.kind);
    button.setAttribute("aria-pressed", String(layer === state.layer && head === state.head));
  });
}

let place = null; // of the large map: {left, top, cell}

function drawMap() {
  const [canvas, n] = [at("map"), shown.tokens.length];
  const measure = canvas.getContext("2d");
  measure.font = "13px 'Noto Sans', 'DejaVu Sans', sans-serif";
  const left = 8 + Math.max(...shown.tokens.map((token) => measure.measureText(seen(token)).width));
  const cell = Math.max(CELL, Math.min(34, (canvas.parentElement.clientWidth - left - 4) / n));
  const [width, height] = [left + n * cell + 4, left + n * cell + 4];
  [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
  const context = sheet(canvas, width, height);
  place = { left, top: left, cell };
  const rgba = colours(shown, state.layer, state.head, state.kind);
  for (let i = 0; i < n * n; i++) {
    context.fillStyle = `rgb(${rgba[4 * i]} ${rgba[4 * i + 1]} ${rgba[4 * i + 2]})`;
    context.fillRect(left + (i % n) * cell, left + Math.floor(i / n) * cell, cell + 0.5, cell + 0.5);
  }
  context.textBaseline = "middle";
  shown.tokens.forEach((token, i) => {
    context.fillStyle = colour("ink");
    context.font = `${i === state.query ? "bold " : ""}13px 'Noto Sans', 'DejaVu Sans', sans-serif`;
    context.textAlign = "right";
    context.fillText(seen(token), left - 5, left + (i + 0.5) * cell);
    context.save();
    context.translate(left + (i + 0.5) * cell, left - 5);
    context.rotate(-Math.PI / 2);
    context.textAlign = "left";
    context.font = `${i === state.key ? "bold " : ""}13px 'Noto Sans', 'DejaVu Sans', sans-serif`;
    context.fillText(seen(token), 0, 0);
    context.restore();
  });
  context.strokeStyle = colour("ink");
  context.lineWidth = 2;
  context.strokeRect(left, left + state.query * cell, (state.query + 1) * cell, cell);
  context.strokeRect(left + state.key * cell, left + state.query * cell, cell, cell);
  canvas.setAttribute("aria-label", fill(words.map_alt, { layer: state.layer, head: state.head }));
  const i = state.query * n + state.key;
  const score = scoresOf(shown, state.layer, state.head)[i];
  at("cell").textContent = fill(words.cell, {
    query: seen(shown.tokens[state.query]), key: seen(shown.tokens[state.key]),
    score: isHidden(score) ? words.hidden : number(score), weight: number(weightsOf(shown, state.layer, state.head)[i], 3),
  });
}

// One query's row: its scores as dots on their own scale, its weights as bars.
function drawBars() {
  const [canvas, n, count] = [at("bars"), shown.tokens.length, state.query + 1];
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const context = sheet(canvas, width, height);
  const scores = scoresOf(shown, state.layer, state.head).subarray(state.query * n, state.query * n + count);
  const weights = softmaxRow(scores, state.query, shown.headSize);
  const real = Array.from(scores).filter((score) => !isHidden(score));
  const [low, high] = [Math.min(...real), Math.max(...real)];
  const [left, right, top, bottom] = [44, width - 40, 18, height - 10];
  const x = (key) => left + ((key + 0.5) / count) * (right - left);
  const y = (score) => bottom - ((score - low) / (high - low || 1)) * (bottom - top);
  context.fillStyle = colour("weight");
  weights.forEach((weight, key) => context.fillRect(x(key) - Math.max(1, (0.4 * (right - left)) / count), bottom - weight * (bottom - top), Math.max(2, (0.8 * (right - left)) / count), weight * (bottom - top)));
  context.fillStyle = colour("ink");
  scores.forEach((score, key) => {
    if (isHidden(score)) return;
    context.beginPath();
    context.arc(x(key), y(score), 3, 0, 7);
    context.fill();
  });
  context.textAlign = "right";
  context.fillText(number(high, 0), left - 6, top + 4);
  context.fillText(number(low, 0), left - 6, bottom);
  context.textAlign = "left";
  context.fillStyle = colour("weight");
  context.fillText("1", right + 8, top + 4);
  context.fillText("0", right + 8, bottom);
  canvas.setAttribute("aria-label", fill(words.bars_alt, { query: seen(shown.tokens[state.query]) }));
}

// The density of a head's scores, the future left out: one Gaussian a score, Scott's bandwidth; as it is and changed.
function drawDensity() {
  const canvas = at("density");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const context = sheet(canvas, width, height);
  const past = (record) => Array.from(scoresOf(record, state.layer, state.head)).filter((score, i) => i % record.tokens.length <= Math.floor(i / record.tokens.length) && !isHidden(score));
  const samples = [past(plain), past(shown)];
  const [low, high] = [Math.min(0, ...samples.flat()), Math.max(0, ...samples.flat())];
  const margin = 0.08 * (high - low) + 1;
  const xs = Array.from({ length: 240 }, (_, i) => low - margin + (i / 239) * (high - low + 2 * margin));
  const curves = samples.map((values) => densityAt(xs, values));
  const most = Math.max(...curves.flat());
  const [left, right, top, bottom] = [8, width - 8, 10, height - 22];
  const x = (value) => left + ((value - xs[0]) / (xs[239] - xs[0])) * (right - left);
  ["line", "accent"].forEach((name, which) => {
    context.strokeStyle = colour(name);
    context.lineWidth = which ? 2.5 : 2;
    context.setLineDash(which ? [] : [5, 4]);
    context.beginPath();
    curves[which].forEach((density, i) => context.lineTo(x(xs[i]), bottom - (density / most) * (bottom - top)));
    context.stroke();
  });
  context.setLineDash([]);
  context.strokeStyle = colour("ink");
  context.lineWidth = 1;
  context.strokeRect(x(0), top, 0, bottom - top);
  context.textAlign = "center";
  const marks = [low, 0, high].filter((value) => value === 0 || Math.abs(x(value) - x(0)) > 40);
  marks.forEach((value) => context.fillText(number(value, 0), Math.min(right - 12, Math.max(left + 14, x(value))), height - 6));
  canvas.setAttribute("aria-label", fill(words.density_alt, { layer: state.layer, head: state.head }));
}

function densityAt(xs, values) {
  const mean = values.reduce((sum, value) => sum + value / values.length, 0);
  const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1));
  const h = deviation * values.length ** -0.2 || 1;
  return xs.map((x) => {
    let sum = 0;
    for (const value of values) if (Math.abs(x - value) < 5 * h) sum += Math.exp(-(((x - value) / h) ** 2) / 2);
    return sum / (values.length * h);
  });
}

function drawOutcome() {
  const change = Math.max(...Array.from({ length: shown.nLayers * shown.nHeads }, (_, i) => {
    const [layer, head] = [Math.floor(i / shown.nHeads), i % shown.nHeads];
    const [before, after] = [weightsOf(plain, layer, head), weightsOf(shown, layer, head)];
    return before.reduce((most, weight, j) => Math.max(most, Math.abs(weight - after[j])), 0);
  }));
  const next = (record) => record.next.map(({ token, p }) => `${seen(token)} ${number(100 * p, 0)}%`).join("   ");
  const loss = (record) => (record.tokens.length > 1 ? number(record.loss, 3) : "–");
  const rows = [
    [words.outcome, words.as_it_is, words.changed],
    [words.weight_change, number(0, 3), number(change, 3)],
  ];
  if (!held) rows.push([words.loss, loss(plain), loss(shown)], [words.next, next(plain), next(shown)]);
  const table = document.createElement("table");
  rows.forEach((cells, i) => {
    const row = table.insertRow();
    cells.forEach((text, j) => {
      const cell = document.createElement(i && j ? "td" : "th");
      if (cell.tagName === "TH") cell.scope = i ? "row" : "col";
      cell.textContent = text;
      row.append(cell);
    });
  });
  const verdict = document.createElement("p");
  verdict.textContent = !isChanged() ? words.nothing : change < 1e-4 ? words.same : words.different;
  at("outcome").replaceChildren(verdict, table);
}

function draw() {
  const last = shown.tokens.length - 1;
  state.query = Math.min(state.query ?? last, last);
  state.key = Math.min(state.key, state.query);
  [state.layer, state.head] = [Math.min(state.layer, shown.nLayers - 1), Math.min(state.head, shown.nHeads - 1)];
  at("head-title").textContent = fill(words.head, { layer: state.layer, head: state.head });
  drawThumbnails();
  drawMap();
  drawBars();
  drawDensity();
  drawOutcome();
  drawFilm();
  keepLink();
}

function keepLink() {
  if (location.protocol === "about:") return; // shown within a notebook: no address of its own
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(state))}`);
  if (!held) at("twin").hash = location.hash;
}

function showStatus(text) {
  at("status").textContent = text;
}

// The film of the training: one head's histogram at one of its steps, in units of the root mean square of its scores.
let film = null; // {step, loss, share [step][layer][head], heights [step][layer][head][bin], reach}, once it is here

function drawFilm() {
  if (held || !film) return;
  const i = Math.min(state.film ?? Infinity, film.step.length - 1);
  [at("film").max, at("film").value] = [film.step.length - 1, i];
  const [heights, share] = [film.heights, film.share].map((of) => of[i][state.layer][state.head]);
  const said = { step: film.step[i], loss: number(film.loss[i]), share: number(100 * share, 0), layer: state.layer, head: state.head };
  at("film-value").textContent = fill(words.film_at, said);
  const canvas = at("film-picture");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const context = sheet(canvas, width, height);
  const [bottom, bar] = [height - 22, width / heights.length];
  const most = Math.max(...heights);
  heights.forEach((count, j) => {
    context.fillStyle = colour(j < heights.length / 2 ? "negative" : "positive");
    context.fillRect(j * bar, bottom - (count / most) * (bottom - 6), bar + 0.5, (count / most) * (bottom - 6));
  });
  context.fillStyle = colour("ink");
  context.textAlign = "center";
  [-film.reach, 0, film.reach].forEach((x, j) => context.fillText(x, [8, width / 2, width - 8][j], height - 6));
  canvas.setAttribute("aria-label", fill(words.film_at, said));
}

async function getFilm() {
  try {
    film = await (await fetch(new URL("./film.json", import.meta.url))).json();
    if (shown) drawFilm();
  } catch {
    at("film-value").textContent = words.failed;
  }
}

// ---- what the reader does

function choose(what) {
  state = { ...state, ...what };
  showControls();
  if (state.scope === "head" && isChanged() && ("layer" in what || "head" in what)) return run();
  if (shown) draw();
}

function change(what) {
  state = { ...state, change: { ...state.change, ...what } };
  showControls();
  return run();
}

function showControls() {
  const now = { ...NO_CHANGE, ...state.change };
  [at("add").value, at("spread").value, at("clip").checked, at("scope").value] = [now.add, now.spread, now.clip, state.scope];
  at("add-value").textContent = number(now.add, 0);
  at("spread-value").textContent = `× ${number(now.spread, 1)}`;
  at("keep").value = now.keep ?? "";
  at("model").value = state.model;
  for (const input of document.getElementsByName("kind")) input.checked = input.value === state.kind;
  const keys = plain ? plain.tokens.slice(0, -1) : [];
  at("hide").replaceChildren(new Option(words.none, ""), ...keys.map((token, key) => new Option(`${key}: ${seen(token)}`, key)));
  at("hide").value = now.hide ?? "";
}

// Another text: what is typed stands in the box already, and is never written back into it.
function takeText(text) {
  const hide = null; // a key of the old text
  state = { ...state, text, query: null, key: 0, change: { ...state.change, hide } };
}

async function runText() {
  await run();
  showControls();
}

function setText(text) {
  at("text").value = text;
  takeText(text);
  return runText();
}

let pause = null;
at("text").oninput = () => {
  at("example").value = "";
  takeText(at("text").value);
  clearTimeout(pause);
  pause = setTimeout(runText, 200);
};
at("example").append(new Option("…", ""), ...(words.examples ?? []).map((text) => new Option(text.slice(0, 60), text)));
at("example").onchange = () => at("example").value && setText(at("example").value);
for (const input of document.getElementsByName("kind")) input.onchange = () => choose({ kind: input.value });
at("add").oninput = () => change({ add: Number(at("add").value) });
at("spread").oninput = () => change({ spread: Number(at("spread").value) });
at("clip").onchange = () => change({ clip: at("clip").checked });
at("hide").onchange = () => change({ hide: at("hide").value === "" ? null : Number(at("hide").value) });
at("keep").onchange = () => change({ keep: at("keep").value || null });
at("scope").onchange = () => {
  state = { ...state, scope: at("scope").value };
  run();
};
at("model").onchange = () => {
  state = { ...state, model: at("model").value };
  run();
};
at("film").oninput = () => {
  state = { ...state, film: Number(at("film").value) };
  drawFilm();
  keepLink();
};
at("reset").onclick = () => change({ ...NO_CHANGE });
at("twin").onclick = (event) => {
  if (!held) return; // the live page has a twin; a saved one speaks both
  event.preventDefault();
  speak(words.twin);
};

function speak(language) {
  words = allWords[language];
  document.documentElement.lang = language;
  at("twin").lang = at("twin").hreflang = words.twin;
  document.title = words.title;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
  at("thumbnails").replaceChildren();
  showControls();
  if (!shown) return;
  showWhatWasRead();
  draw();
}
at("link").onclick = async () => {
  keepLink();
  await navigator.clipboard?.writeText(location.href);
  showStatus(navigator.clipboard ? words.copied : location.href); // a page that is not served safely may not copy
};

let linking = null;
function pointed(event) {
  if (!shown) return;
  const box = at("map").getBoundingClientRect();
  const [key, query] = [event.clientX - box.left - place.left, event.clientY - box.top - place.top].map((x) => Math.floor(x / place.cell));
  const isCell = query >= 0 && query < shown.tokens.length && key >= 0 && key <= query;
  if (!isCell || (query === state.query && key === state.key)) return;
  state = { ...state, query, key }; // of all that is drawn, these two hang on it
  drawMap();
  drawBars();
  clearTimeout(linking); // browsers allow some hundred new addresses a minute
  linking = setTimeout(keepLink, 300);
}
at("map").onpointermove = (event) => event.pointerType === "mouse" && place && pointed(event);
at("map").onclick = (event) => place && pointed(event);
at("map").onkeydown = (event) => {
  const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [0, 0];
  if (!down && !right) return;
  event.preventDefault();
  if (!shown) return;
  const query = Math.min(Math.max(state.query + down, 0), shown.tokens.length - 1);
  choose({ query, key: Math.min(Math.max(state.key + right, 0), query) });
};
let resizing = null;
onresize = () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    at("thumbnails").replaceChildren();
    if (shown) draw();
  }, 100);
};
prefersDark.addEventListener("change", () => {
  chooseTheme();
  if (shown) draw();
});

// For whoever asks from outside: the record of a text as the model is, and of the shown text under a change.
window.attention = {
  async record(text) {
    await setText(text);
    return ask(text, {}, undefined, state.model);
  },
  async change(what) {
    await change(what);
    return ask(state.text, wholeChange(), undefined, state.model);
  },
};

onhashchange = () => {
  state = fromLink();
  at("text").value = state.text;
  runText();
};

if (!held) {
  at("text").value = state.text;
  getFilm();
}
showControls();
runText();
