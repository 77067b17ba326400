"""One arm of the benchmark, alone in this process: `python tools/performance_arms.py ARM …` prints JSON.

    forward HOW MODEL TEXTS TOKENS     HOW in FORWARDS, MODEL gpt2 (12 × 12 × 64) or mini, random weights
    corpus TOKENS                      aero.profile with the embedded mini over that many tokens
    novels FOLDER                      the same over a folder of text files, each line a text
    density N                          aero.density and scipy.stats.gaussian_kde of N values
    histogram N                        N values counted a million at a time, then their density
    explorer                           milliseconds that each widget takes to redraw, a text of 100 tokens
    where                              what aero.profile's time goes into, by torch.profiler

The arms named lens… need TransformerLens, which brings an environment of its own; nothing else does.
"""

import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

REPEATS = 5
STATUS = Path("/proc/self/status")  # Linux; elsewhere memory is not measured


def resident(field):
    """Megabytes: VmRSS now, VmHWM the peak since `forget_peak`."""
    if not STATUS.exists():
        return float("nan")
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def forget_peak():
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def measured(call, repeats=REPEATS):
    """{"seconds": of each call after a first one, "megabytes": peak over what was resident before, 0 if none}.

    Linux counts a process' pages in batches: its peak may read a fraction of a megabyte below what is resident.
    """
    before = resident("VmRSS")
    forget_peak()
    call()
    seconds = []
    for _ in range(repeats):
        since = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - since)
    return {"seconds": seconds, "megabytes": max(0.0, resident("VmHWM") - before)}


def random_model(which):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": 6, "n_head": 4, "n_embd": 128, "n_positions": 256} if which == "mini" else {}
    torch.manual_seed(0)
    n_vocabulary = 2048 if which == "mini" else 50257
    return GPT2LMHeadModel(GPT2Config(vocab_size=n_vocabulary, **sizes)).eval()


class Numbers:
    """A tokenizer for texts that are numbers, so that no arm spends time on words."""

    def __call__(self, text, verbose=True):
        return {"input_ids": [int(word) for word in text.split()]}


def plain(model, ids, implementation, **more):
    model.set_attn_implementation(implementation)
    return lambda: model.base_model(input_ids=ids, use_cache=False, **more)


def with_logits(model, ids):
    model.set_attn_implementation("sdpa")
    return lambda: model(input_ids=ids, use_cache=False)


def ours(model, ids):
    import aero_helpers as aero
    from aero_helpers.models import LanguageModel

    lm = LanguageModel("random", model, Numbers())
    texts = [" ".join(map(str, row)) for row in ids.tolist()]
    return lambda: aero.profile(lm, texts)


def lens(model, ids, run):
    """TransformerLens on the same model, its logits left out."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import GPT2TokenizerFast

    tokenizer = GPT2TokenizerFast.from_pretrained(Path(__file__).resolve().parents[1] / "aero_helpers" / "mini")
    bridge = TransformerBridge.boot_transformers("gpt2", hf_model=model, tokenizer=tokenizer)
    n_layers, n_tokens = model.config.n_layer, ids.shape[1]
    return lambda: run(bridge, ids, {"return_type": None, "stop_at_layer": n_layers}, n_layers, n_tokens)


def lens_hooks(bridge, ids, more, n_layers, n_tokens):
    """The least that can be asked: one number a head, the count of scores below 0, taken in the hook."""
    below, n_future = {}, n_tokens * (n_tokens - 1) // 2  # the future is masked with a negative number

    def count(scores, hook):
        below[hook.name] = (scores < 0).sum((-2, -1)) - n_future

    bridge.run_with_hooks(
        ids, fwd_hooks=[(f"blocks.{i}.attn.hook_attn_scores", count) for i in range(n_layers)], **more
    )
    assert len(below) == n_layers


FORWARDS = {
    "sdpa": lambda model, ids: plain(model, ids, "sdpa"),
    "sdpa_logits": with_logits,
    "eager_weights": lambda model, ids: plain(model, ids, "eager", output_attentions=True),
    "ours": ours,
    "lens_hooks": lambda model, ids: lens(model, ids, lens_hooks),
}


def forward(how, which, n_texts, n_tokens):
    import torch

    model = random_model(which)
    ids = torch.randint(2000, (int(n_texts), int(n_tokens)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return measured(FORWARDS[how](model, ids))


def corpus(n_tokens):
    """The embedded mini over the course's own scenes, again and again."""
    import aero_helpers as aero

    texts = [scene.text for scene in aero.read_scenes()]
    n_texts = round(int(n_tokens) / np.mean([len(aero.load("mini").encode(text)[0]) for text in texts]))
    return profiled(islice(cycle(texts), n_texts))


def novels(folder):
    """The embedded mini over all text files of a folder, each line a text, read as it goes."""
    return profiled(line for path in sorted(Path(folder).glob("*.txt")) for line in path.open(encoding="utf-8"))


def profiled(texts):
    import aero_helpers as aero

    lm = aero.load("mini")
    aero.profile(lm, [scene.text for scene in aero.read_scenes()])  # the first call of a process is slower
    before = resident("VmRSS")
    forget_peak()
    since = time.perf_counter()
    profile = aero.profile(lm, texts)
    seconds, (n_texts, n_tokens, _) = time.perf_counter() - since, profile.counts.tolist()
    return {"texts": n_texts, "tokens": n_tokens, "seconds": seconds, "megabytes": max(0.0, resident("VmHWM") - before)}


def scores(rng, n):
    """Like a head's raw scores: a broad bump below 0, and a sink. [n]"""
    n_sink = n // 10
    return np.concatenate([rng.normal(-15, 8, n - n_sink), rng.normal(20, 2, n_sink)])


def density(n):
    from scipy.stats import gaussian_kde

    import aero_helpers as aero

    values = scores(np.random.default_rng(0), int(n))
    curve = aero.density(values)
    seconds = measured(lambda: aero.density(values))["seconds"]
    since = time.perf_counter()
    exact = gaussian_kde(values)(curve.x)
    theirs = time.perf_counter() - since
    error = np.abs(curve.y - exact).max() / exact.max()
    return {"n": int(n), "seconds": seconds, "scipy_seconds": theirs, "points": len(curve.x), "error": error}


def histogram(n):
    """Counted a million at a time; the error is against the density that the values were drawn from, smoothed."""
    from scipy.stats import norm

    from aero_helpers import density_of_histogram

    rng, counts, edges = np.random.default_rng(0), np.zeros(4096, int), np.linspace(-80, 80, 4097)
    before = resident("VmRSS")
    forget_peak()
    for _ in range(int(n) // 1_000_000):
        counts += np.histogram(scores(rng, 1_000_000), edges)[0]
    megabytes, width = resident("VmHWM") - before, edges[1] - edges[0]
    seconds = measured(lambda: density_of_histogram(counts, edges[0], width))["seconds"]
    x, y, h = density_of_histogram(counts, edges[0], width)
    true = 0.9 * norm.pdf(x, -15, np.hypot(8, h)) + 0.1 * norm.pdf(x, 20, np.hypot(2, h))
    return {
        "n": int(counts.sum()),
        "seconds": seconds,
        "megabytes": megabytes,
        "error": np.abs(y - true).max() / true.max(),
    }


def where():
    """Seconds of CPU time by kind of work, of aero.profile and of a plain forward, T = 1024, two texts."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    model, ids = random_model("gpt2"), torch.randint(2000, (2, 1024), generator=torch.Generator().manual_seed(0))
    found = {}
    for how in ("sdpa", "ours"):
        with torch.no_grad():
            call = FORWARDS[how](model, ids)
            call()
            with profile(activities=[ProfilerActivity.CPU]) as seen:
                call()
        found[how] = {event.key: event.self_cpu_time_total / 1e6 for event in seen.key_averages()}
    return found


def explorer():
    """Median and longest redraw of each widget, in milliseconds, over twenty moves of a slider."""
    import aero_helpers as aero

    aero.plots.use_style()
    text = " ".join(scene.text for scene in aero.read_scenes())
    whole = aero.load("mini").record(text, truncate=True)
    scores = whole.raw_scores[..., :100, :100]
    record = aero.AttentionRecord(whole.tokens[:100], scores, whole.head_size, whole.model_name)
    values = scores[2, 1][aero.causal_mask(100)].numpy()
    found = {}
    film, bandwidth = aero.training_film(), aero.explore_bandwidth(values)
    slider = bandwidth.controls["bandwidth"]
    for name, widget, moved, places in (
        ("explore", aero.explore(record), "query", range(1, 22)),
        ("explore_bandwidth", bandwidth, "bandwidth", np.logspace(slider.min, slider.max, 21)),
        ("training_film", film, "step", film.controls["step"].options[:21]),
    ):
        times = []
        for place in places:
            since = time.perf_counter()
            widget.controls[moved].value = place
            times.append(1000 * (time.perf_counter() - since))
        found[name] = {"median": np.median(times[1:]), "longest": max(times[1:])}
    return found


ARMS = {
    "explorer": explorer,
    "forward": forward,
    "corpus": corpus,
    "novels": novels,
    "density": density,
    "histogram": histogram,
    "where": where,
}

if __name__ == "__main__":
    print(json.dumps(ARMS[sys.argv[1]](*sys.argv[2:]), default=float))
