// The model runs here, beside the page, so that typing and scrolling never wait for it.
import { GPT2, NO_CHANGE, readSafetensors } from "./gpt2.js";
import { Tokenizer } from "./tokenizer.js";

async function fetched(name, kind) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: expected the file, got the answer ${answer.status}`);
  return answer[kind]();
}

// Position profiles [layer, head, P, P], in rows of their own: queries and keys beyond P have none.
class Profiles {
  constructor(numbers, config) {
    this.numbers = numbers;
    this.nHeads = config.n_head;
    this.size = Math.round(Math.sqrt(numbers.length / (config.n_layer * config.n_head)));
  }

  of(layer, head) {
    const from = (layer * this.nHeads + head) * this.size ** 2;
    return { at: (query, key) => this.numbers[from + query * this.size + key] };
  }
}

const fetchedOnce = {};

// What a name stands for, fetched once; what failed is fetched anew when somebody asks again.
function once(name, get) {
  fetchedOnce[name] ??= get().catch((error) => {
    delete fetchedOnce[name];
    throw error;
  });
  return fetchedOnce[name];
}

// A model, "trained" or "untrained", and the position profile of its scores.
async function load(name) {
  const { config } = await once("common", loadCommon);
  const files = [`${name}.safetensors`, `${name}-profile.bin`];
  const [weights, profile] = await Promise.all(files.map((file) => fetched(file, "arrayBuffer")));
  return { model: new GPT2(readSafetensors(weights), config), profiles: new Profiles(new Float32Array(profile), config) };
}

async function loadCommon() {
  const [config, tokenizer] = await Promise.all(["config.json", "tokenizer.json"].map((name) => fetched(name, "json")));
  return { config, tokenizer: new Tokenizer(tokenizer) };
}

// A record of a text under a change: {tokens, ids, rawScores, logits, losses, loss, next}; next: the likeliest tokens.
async function record({ text, limit, change, of }) {
  const { config, tokenizer } = await once("common", loadCommon);
  const { model, profiles } = await once(of, () => load(of));
  const { ids, labels } = tokenizer.encode(text);
  if (!ids.length) throw new Error("text: expected at least one token, got an empty text");
  const kept = ids.slice(0, Math.min(limit ?? config.n_positions, config.n_positions));
  const found = model.forward(kept, { ...NO_CHANGE, ...change }, profiles);
  const loss = found.losses.slice(1).reduce((sum, each) => sum + each, 0) / (kept.length - 1);
  const next = likeliest(found.logits.slice(-config.vocab_size), 5).map(([id, p]) => ({ token: tokenizer.decode(id), p }));
  const shape = { nLayers: config.n_layer, nHeads: config.n_head, headSize: model.headSize };
  return { ...found, ...shape, tokens: labels.slice(0, kept.length), ids: kept, nLeftOut: ids.length - kept.length, loss, next };
}

function likeliest(logits, n) {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - top), 0);
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a]);
  return order.slice(0, n).map((id) => [id, Math.exp(logits[id] - top) / total]);
}

onmessage = async ({ data }) => {
  try {
    postMessage({ id: data.id, record: await record(data) });
  } catch (error) {
    postMessage({ id: data.id, error: error.message });
  }
};
