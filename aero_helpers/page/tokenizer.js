// GPT-2's byte-level BPE, read from the model's own tokenizer.json: text into pieces, pieces into bytes written as
// letters, letters joined pair by pair in the order in which training learnt the pairs.

const PIECES = /'(?:[sdmt]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";

// Each byte as a letter that can be seen: printable ones as they are, the others from U+0100 on.
function lettersOfBytes() {
  const isSeen = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isSeen(byte) ? byte : next++));
}

export class Tokenizer {
  constructor(file) {
    this.ids = file.model.vocab;
    this.words = Object.fromEntries(Object.entries(this.ids).map(([word, id]) => [id, word]));
    this.ranks = new Map(file.model.merges.map((pair, rank) => [pair.join(" "), rank]));
    this.special = file.added_tokens.map(({ content, id }) => ({ content, id }));
    this.letters = lettersOfBytes();
    this.bytes = new Map(this.letters.map((letter, byte) => [letter, byte]));
  }

  // {ids, labels}: a label is the piece of text that a token stands for; of a letter cut into several tokens each shows
  // the whole letter and its number, as "ế₁", "ế₂" (aero_helpers.tokens.readable_tokens).
  encode(text) {
    const tokens = [];
    for (const part of this.partsOf(text.toWellFormed())) {
      if (part.id !== undefined) tokens.push({ id: part.id, special: part.content });
      else for (const [piece] of part.content.matchAll(PIECES)) tokens.push(...this.encodePiece(piece));
    }
    return { ids: tokens.map((token) => token.id), labels: labelsOf(tokens) };
  }

  // The text cut at the special tokens that it holds.
  partsOf(text) {
    let parts = [{ content: text }];
    for (const special of this.special) {
      parts = parts.flatMap((part) => {
        if (part.id !== undefined) return [part];
        return part.content.split(special.content).flatMap((content, i) => (i ? [special, { content }] : [{ content }]));
      });
    }
    return parts.filter((part) => part.content);
  }

  encodePiece(piece) {
    const encoder = new TextEncoder();
    const characters = Array.from(piece);
    const owners = characters.flatMap((character, i) => Array(encoder.encode(character).length).fill(i));
    let parts = Array.from(encoder.encode(piece), (byte) => this.letters[byte]);
    for (;;) {
      const ranks = parts.slice(1).map((part, i) => this.ranks.get(`${parts[i]} ${part}`) ?? Infinity);
      const best = Math.min(...ranks);
      if (!Number.isFinite(best)) break;
      const i = ranks.indexOf(best);
      parts.splice(i, 2, parts[i] + parts[i + 1]);
    }
    let byte = 0;
    return parts.map((part) => {
      const [first, last] = [owners[byte], owners[(byte += part.length) - 1]];
      return { id: this.ids[part], characters, first, last };
    });
  }

  // What a token adds to a text; bytes that are no whole letter show as �.
  decode(id) {
    const word = this.words[id];
    if (this.special.some((special) => special.id === id)) return word;
    return new TextDecoder().decode(Uint8Array.from(word, (letter) => this.bytes.get(letter)));
  }
}

function labelsOf(tokens) {
  let piece = 0;
  return tokens.map((token, i) => {
    if (token.special) return token.special;
    const [before, after] = [tokens[i - 1], tokens[i + 1]];
    const continues = before?.characters === token.characters && token.first <= before.last;
    const isContinued = after?.characters === token.characters && after.first <= token.last;
    piece = continues ? piece + 1 : 1;
    const number = String(piece).replace(/\d/g, (digit) => SUBSCRIPTS[digit]);
    return token.characters.slice(token.first, token.last + 1).join("") + (continues || isContinued ? number : "");
  });
}
