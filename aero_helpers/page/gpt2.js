// GPT-2's forward pass, written out: the arithmetic of lessons 01 to 03 once more, on flat arrays.
// Shapes are those of the course: activations [token, D], scores [layer, head, query, key].

// One safetensors file: a length, a JSON header, the numbers. Returns {name: Float32Array}.
export function readSafetensors(buffer) {
  const size = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const tensors = {};
  for (const [name, about] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (about.dtype !== "F32") throw new Error(`${name}: expected float32 numbers, got ${about.dtype}`);
    const [start, end] = about.data_offsets;
    tensors[name] = new Float32Array(buffer.slice(8 + size + start, 8 + size + end));
  }
  return tensors;
}

// x W + b: [T, nIn] by [nIn, nOut]. GPT-2 keeps its weights that way round (Conv1D).
// Two tokens and four inputs go at a time, because a weight that has been fetched is then used twice, and that many
// numbers fit a processor's registers: three times as fast as one by one.
function linear(x, weight, bias, nTokens, nIn) {
  const nOut = bias.length;
  const out = new Float32Array(nTokens * nOut);
  const [first, second] = [new Float64Array(nOut), new Float64Array(nOut)];
  for (let t = 0; t < nTokens; t += 2) {
    const after = Math.min(t + 1, nTokens - 1); // the last token of an odd number goes twice
    first.set(bias);
    second.set(bias);
    for (let i = 0; i < nIn; i += 4) {
      const p = t * nIn + i;
      const q = after * nIn + i;
      const a = x[p], b = x[p + 1], c = x[p + 2], d = x[p + 3];
      const e = x[q], f = x[q + 1], g = x[q + 2], h = x[q + 3];
      for (let j = 0, w = i * nOut; j < nOut; j++, w++) {
        const w0 = weight[w], w1 = weight[w + nOut], w2 = weight[w + 2 * nOut], w3 = weight[w + 3 * nOut];
        first[j] += a * w0 + b * w1 + c * w2 + d * w3;
        second[j] += e * w0 + f * w1 + g * w2 + h * w3;
      }
    }
    out.set(first, t * nOut);
    out.set(second, after * nOut);
  }
  return out;
}

// [nRows, nColumns] -> [nColumns, nRows]
function transpose(x, nColumns) {
  const nRows = x.length / nColumns;
  return Float32Array.from(x, (_, i) => x[(i % nRows) * nColumns + Math.floor(i / nRows)]);
}

// The dot product of x[i], x[i + 1], … and y[j], y[j + 1], …, n numbers each, four at a time.
function product(x, i, y, j, n) {
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let k = 0; k < n; k += 4) {
    a += x[i + k] * y[j + k];
    b += x[i + k + 1] * y[j + k + 1];
    c += x[i + k + 2] * y[j + k + 2];
    d += x[i + k + 3] * y[j + k + 3];
  }
  return a + b + c + d;
}

function layerNorm(x, weight, bias, epsilon) {
  const width = weight.length;
  const out = new Float32Array(x.length);
  for (let from = 0; from < x.length; from += width) {
    let mean = 0;
    let square = 0;
    for (let i = 0; i < width; i++) mean += x[from + i] / width;
    for (let i = 0; i < width; i++) square += ((x[from + i] - mean) * (x[from + i] - mean)) / width;
    const scale = 1 / Math.sqrt(square + epsilon);
    for (let i = 0; i < width; i++) out[from + i] = (x[from + i] - mean) * scale * weight[i] + bias[i];
  }
  return out;
}

// GPT-2's own approximation of GELU, by tanh.
function gelu(x) {
  const root = Math.sqrt(2 / Math.PI);
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const z = x[i];
    out[i] = 0.5 * z * (1 + Math.tanh(root * (z + 0.044715 * z * z * z)));
  }
  return out;
}

function add(x, y) {
  const sum = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) sum[i] = x[i] + y[i];
  return sum;
}

// Attention weights of one row of raw scores: divide by √d, hide the future, softmax.
export function softmaxRow(scores, query, headSize) {
  const weights = new Float32Array(scores.length);
  let top = -Infinity;
  for (let key = 0; key <= query; key++) top = Math.max(top, scores[key]);
  let total = 0;
  for (let key = 0; key <= query; key++) {
    weights[key] = Math.exp((scores[key] - top) / Math.sqrt(headSize));
    total += weights[key];
  }
  for (let key = 0; key <= query; key++) weights[key] /= total;
  return weights;
}

// What the sliders do to the raw scores of one head, [query, key]; `profile` is the head's position profile, [P, P].
// The same changes as in aero_helpers.interventions.
export function changeScores(scores, nTokens, change, profile) {
  const changed = Float32Array.from(scores);
  for (let query = 0; query < nTokens; query++) {
    const row = changed.subarray(query * nTokens, (query + 1) * nTokens);
    let mean = 0;
    for (let key = 0; key <= query; key++) mean += row[key] / (query + 1);
    for (let key = 0; key < nTokens; key++) {
      if (change.keep === "level") row[key] = mean;
      if (change.keep === "position") row[key] = profile.at(query, key);
      if (change.keep === "content") row[key] -= mean + profile.at(query, key);
    }
    if (change.spread !== 1) {
      let centre = 0;
      for (let key = 0; key <= query; key++) centre += row[key] / (query + 1);
      for (let key = 0; key < nTokens; key++) row[key] = centre + change.spread * (row[key] - centre);
    }
    for (let key = 0; key < nTokens; key++) {
      if (change.clip) row[key] = Math.max(row[key], 0);
      row[key] += change.add;
    }
    if (change.hide !== null && query > change.hide) row[change.hide] = -1e9;
  }
  return changed;
}

export const NO_CHANGE = { add: 0, spread: 1, clip: false, hide: null, keep: null, layer: null, head: null };

// Whether a change is for this head: null stands for all.
export function reaches(change, layer, head) {
  return (change.layer === null || change.layer === layer) && (change.head === null || change.head === head);
}

export class GPT2 {
  constructor(tensors, config) {
    this.tensors = tensors;
    this.config = config;
    this.headSize = config.n_embd / config.n_head;
    this.unembedding = transpose(this.get("wte.weight"), config.n_embd); // [D, vocabulary]
  }

  get(name) {
    return this.tensors[`transformer.${name}`];
  }

  linear(x, name, nTokens, nIn) {
    return linear(x, this.get(`${name}.weight`), this.get(`${name}.bias`), nTokens, nIn);
  }

  norm(x, name) {
    return layerNorm(x, this.get(`${name}.weight`), this.get(`${name}.bias`), this.config.layer_norm_epsilon);
  }

  // {rawScores [layer, head, query, key], logits [token, vocabulary], losses [token]} of a text, under a change of
  // scores in the head (change.layer, change.head), or in all heads where these are null.
  // losses[t] is the cross-entropy of token t, in nats; of token 0 it is NaN. `profiles`: {at(layer, head)}.
  forward(ids, change = NO_CHANGE, profiles = null) {
    const { n_layer: nLayers, n_head: nHeads, n_embd: width } = this.config;
    const nTokens = ids.length;
    const rawScores = new Float32Array(nLayers * nHeads * nTokens * nTokens);
    let x = this.embed(ids);
    for (let layer = 0; layer < nLayers; layer++) {
      const name = `h.${layer}`;
      const fused = this.linear(this.norm(x, `${name}.ln_1`), `${name}.attn.c_attn`, nTokens, width); // [T, 3D]
      const joined = new Float32Array(nTokens * width);
      for (let head = 0; head < nHeads; head++) {
        let scores = this.headScores(fused, head, nTokens);
        if (reaches(change, layer, head)) scores = changeScores(scores, nTokens, change, profiles && profiles.of(layer, head));
        rawScores.set(scores, (layer * nHeads + head) * nTokens * nTokens);
        this.attend(joined, scores, fused, head, nTokens);
      }
      x = add(x, this.linear(joined, `${name}.attn.c_proj`, nTokens, width));
      const inner = gelu(this.linear(this.norm(x, `${name}.ln_2`), `${name}.mlp.c_fc`, nTokens, width));
      x = add(x, this.linear(inner, `${name}.mlp.c_proj`, nTokens, 4 * width));
    }
    const logits = this.unembed(this.norm(x, "ln_f"), nTokens);
    return { rawScores, logits, losses: this.losses(logits, ids) };
  }

  embed(ids) {
    const width = this.config.n_embd;
    const [words, places] = [this.get("wte.weight"), this.get("wpe.weight")];
    const x = new Float32Array(ids.length * width);
    ids.forEach((id, t) => {
      for (let i = 0; i < width; i++) x[t * width + i] = words[id * width + i] + places[t * width + i];
    });
    return x;
  }

  // QKᵀ of one head, [query, key], before scale and mask. Queries are the first third of the fused tensor, keys the
  // second, values the last.
  headScores(fused, head, nTokens) {
    const [width, size] = [this.config.n_embd, this.headSize];
    const scores = new Float32Array(nTokens * nTokens);
    for (let query = 0; query < nTokens; query++) {
      for (let key = 0; key < nTokens; key++) {
        const [q, k] = [query * 3 * width + head * size, key * 3 * width + width + head * size];
        scores[query * nTokens + key] = product(fused, q, fused, k, size);
      }
    }
    return scores;
  }

  // Put weights · V of one head in its place in `joined`, [T, D].
  attend(joined, scores, fused, head, nTokens) {
    const [width, size] = [this.config.n_embd, this.headSize];
    for (let query = 0; query < nTokens; query++) {
      const weights = softmaxRow(scores.subarray(query * nTokens, (query + 1) * nTokens), query, size);
      for (let key = 0; key <= query; key++) {
        const [to, v] = [query * width + head * size, key * 3 * width + 2 * width + head * size];
        for (let i = 0; i < size; i++) joined[to + i] += weights[key] * fused[v + i];
      }
    }
  }

  // Scores of each word of the vocabulary: the products with the same vectors that words come in with.
  unembed(x, nTokens) {
    const noBias = new Float32Array(this.config.vocab_size);
    return linear(x, this.unembedding, noBias, nTokens, this.config.n_embd);
  }

  losses(logits, ids) {
    const nWords = logits.length / ids.length;
    const losses = new Float32Array(ids.length).fill(NaN);
    for (let t = 1; t < ids.length; t++) {
      const row = logits.subarray((t - 1) * nWords, t * nWords);
      const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
      const total = row.reduce((sum, logit) => sum + Math.exp(logit - top), 0);
      losses[t] = top + Math.log(total) - row[ids[t]];
    }
    return losses;
  }
}
