"""Train the embedded model `mini` from a folder of .txt files.

    python -m aero_helpers.mini.train CORPUS --out build/mini

GPT-2's architecture at a hundredth of its size, trained from scratch on public-domain novels.
Everything is seeded. The run can be interrupted at any time: the same command goes on from the
last checkpoint, and the batch of a step depends on the seed and the step alone. A copy of the
weights is kept at log-spaced steps, from which `report.py` measures how the attention changed.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

SEED = 20
VOCABULARY = 2048
CONTEXT = 256
LAYERS, HEADS, WIDTH = 6, 4, 128
BATCH = 32  # windows of CONTEXT tokens in one step
PEAK_LEARNING_RATE = 3e-3
WARM_UP = 200
CHECKPOINT_EVERY = 250
END_OF_TEXT = "<|endoftext|>"
HELD_OUT = ("railway-children.txt", "time-machine.txt")  # whole books that training never sees


def read_corpus(folder):
    """Return ({file name: text} for training, the same for the held-out books)."""
    books = {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).glob("*.txt"))}
    missing = [name for name in HELD_OUT if name not in books]
    if missing or len(books) == len(HELD_OUT):
        raise SystemExit(f"{folder}: expected .txt files, among them {HELD_OUT}; found {sorted(books)}")
    held_out = {name: books.pop(name) for name in HELD_OUT}
    return books, held_out


def train_tokenizer(books, folder):
    """Byte-level BPE, as GPT-2's, learnt from the training books alone."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        (line for text in books.values() for line in text.splitlines(keepends=True)),
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        show_progress=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save_model(str(folder))
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return tokenizer


def encode(tokenizer, books):
    """All books as one row of token ids, the end-of-text token before each."""
    ids = []
    for text in books.values():
        lines = tokenizer(text.splitlines(keepends=True), verbose=False)["input_ids"]
        ids.append(tokenizer.eos_token_id)
        ids.extend(token for line in lines for token in line)
    return torch.tensor(ids)


def new_model():
    torch.manual_seed(SEED)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=CONTEXT,
        n_layer=LAYERS,
        n_head=HEADS,
        n_embd=WIDTH,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def batch_at(step, ids):
    """The windows of one step: [BATCH, CONTEXT + 1] token ids, a function of seed and step only."""
    generator = torch.Generator().manual_seed(SEED * 1_000_003 + step)
    starts = torch.randint(len(ids) - CONTEXT, (BATCH,), generator=generator)
    return torch.stack([ids[start : start + CONTEXT + 1] for start in starts.tolist()])


def next_token_loss(model, windows):
    """Mean cross-entropy, in nats a token, of every next token in windows [batch, T + 1]."""
    logits = model(windows[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model, ids, n_windows=None):
    """Mean loss over consecutive windows of the held-out books (the first n_windows of them)."""
    model.eval()
    n_whole = (len(ids) - 1) // CONTEXT
    windows = torch.stack([ids[i * CONTEXT : (i + 1) * CONTEXT + 1] for i in range(n_whole)])[:n_windows]
    losses = [next_token_loss(model, batch).item() * len(batch) for batch in windows.split(BATCH)]
    model.train()
    return sum(losses) / len(windows)


def new_optimizer(model):
    """AdamW; weight decay on matrices only, as GPT-2's successors do."""
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.95))


def learning_rate(step, steps):
    """Linear warm-up, then linear decay to 0 at the last step."""
    return PEAK_LEARNING_RATE * min((step + 1) / WARM_UP, (steps - step) / (steps - WARM_UP))


def snapshot_steps(steps, per_decade=8):
    """0, 1, 2, … and then log-spaced up to the last step."""
    count = round(per_decade * math.log10(steps))
    return sorted({0, steps} | {round(10 ** (k / per_decade)) for k in range(count)})


def save_atomically(state, path):
    """A run killed while saving keeps its previous checkpoint."""
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def train(corpus, out, steps):
    books, held_out_books = read_corpus(corpus)
    tokenizer = train_tokenizer(books, out / "model")
    ids, held_out = encode(tokenizer, books), encode(tokenizer, held_out_books)
    print(f"{len(ids):,} training tokens, {len(held_out):,} held out", flush=True)

    model = new_model().train()
    optimizer = new_optimizer(model)
    checkpoint, log = out / "checkpoint.pt", out / "log.jsonl"
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    kept = set(snapshot_steps(steps))
    (out / "snapshots").mkdir(exist_ok=True)

    since = time.perf_counter()
    for step in range(first, steps + 1):
        if step in kept:
            model.save_pretrained(out / "snapshots" / f"{step:06d}")
        if (step % CHECKPOINT_EVERY == 0 or step == steps) and (step != first or step == 0):
            save_atomically(
                {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, checkpoint
            )
            line = {"step": step, "held_out_loss": held_out_loss(model, held_out, 128)}
            line["seconds"] = round(time.perf_counter() - since, 1)
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(line, flush=True)
        if step == steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # 1.6 times as fast; the weights stay float32
            loss = next_token_loss(model, batch_at(step, ids))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    model.save_pretrained(out / "model")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="a folder of .txt files, one paragraph a line")
    parser.add_argument("--out", type=Path, default=Path("build/mini"))
    parser.add_argument("--steps", type=int, default=6000, help=f"of {BATCH * CONTEXT:,} tokens each")
    arguments = parser.parse_args()
    train(arguments.corpus, arguments.out, arguments.steps)
