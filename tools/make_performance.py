"""What the statistics cost: measured, and written to performance.md and performance.vi.md.

    python tools/make_performance.py measure PYTHON [FOLDER]    measure (under twenty minutes), then write the pages
    python tools/make_performance.py                            write the pages and the plot from the last numbers

PYTHON is the interpreter of an environment with TransformerLens. FOLDER holds novels as text files, a
paragraph a line; without it that row stays as it is in performance.json. Each arm runs in a process of
its own, and all arms take turns, so that a slow minute of the machine falls on all of them.
"""

import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import aero_helpers as aero
from aero_helpers.language import say

DOCS = Path(__file__).resolve().parent.parent / "docs"
NUMBERS = DOCS / "performance.json"
PAGES = ("performance.vi.md", "performance.md")
MARKED = re.compile(r"(<!-- (\w+):start -->\n).*?(<!-- \2:end -->)", re.DOTALL)
ROUNDS = 2
SETTINGS = {
    "16 × 128": ("gpt2", 16, 128),
    "2 × 1024": ("gpt2", 2, 1024),
    "1 × 1024": ("gpt2", 1, 1024),
}
# Linux' allocator keeps what was freed: else some arms, by luck, pay for fresh pages in each call, and others do not.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "8000000000", "MALLOC_MMAP_THRESHOLD_": "8000000000"}
OWN = ("sdpa", "sdpa_logits", "eager_weights", "ours")
LENS = ("lens_hooks",)
CORPUS_TOKENS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
DENSITY_VALUES = (1_000, 10_000, 100_000, 1_000_000)


def arm(*words, python=sys.executable):
    """What one arm prints, in a fresh process."""
    command = [python, str(Path(__file__).with_name("performance_arms.py")), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | KEEP_MEMORY)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr[-2000:]}")
    print(*words, done.stdout.strip()[:100], flush=True)
    return json.loads(done.stdout.splitlines()[-1])


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    versions = {name: version(name) for name in ("torch", "transformers", "numpy", "scipy")}
    return {"cpu": ", ".join(sorted(names)) or platform.processor(), "cores": os.cpu_count()} | versions


def measure(lens_python, novels=None):
    """All arms in turns, into performance.json."""
    numbers = (json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {}) | {"forward": {}}
    pythons = dict.fromkeys(OWN, sys.executable) | dict.fromkeys(LENS, lens_python)
    runs = {(setting, how): [] for setting in SETTINGS for how in pythons}
    for _ in range(ROUNDS):
        for setting, how in runs:
            runs[setting, how].append(arm("forward", how, *SETTINGS[setting], python=pythons[how]))
    for (setting, how), found in runs.items():
        numbers["forward"].setdefault(setting, {})[how] = {
            "seconds": float(np.median([run["seconds"] for run in found])),
            "megabytes": float(np.median([run["megabytes"] for run in found])),
        }
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n")  # a quarter of an hour's work is kept, whatever follows
    numbers["corpus"] = [arm("corpus", n) for n in CORPUS_TOKENS]
    numbers["density"] = [arm("density", n) for n in DENSITY_VALUES]
    numbers["histogram"] = [arm("histogram", n) for n in (1_000_000, 100_000_000)]
    if novels:
        numbers["novels"] = arm("novels", novels)
    numbers["where"] = arm("where")
    numbers["machine"] = machine()
    NUMBERS.write_text(json.dumps(numbers, indent=1) + "\n")


# The columns of the first table: arm, in Vietnamese, in English.
ARMS = {
    "sdpa": ("chạy `sdpa`, thân mô hình", "plain `sdpa`, the body"),
    "sdpa_logits": ("`sdpa`, cả logit", "`sdpa`, with logits"),
    "eager_weights": ("`eager`, giữ trọng số chú ý", "`eager`, `output_attentions`"),
    "lens_hooks": ("TransformerLens: hook", "TransformerLens: hooks"),
    "ours": ("`aero.profile`", "`aero.profile`"),
}
WORK = {  # kind of work: in Vietnamese, in English, the profiler's names for it
    "linear": ("các phép nhân ma trận của mô hình", "the model's own matrix products", ("aten::addmm",)),
    "attention": (
        "QKᵀ và trọng số · V",
        "QKᵀ and weights · V",
        ("aten::bmm", "aten::_scaled_dot_product_flash_attention_for_cpu"),
    ),
    "histogram": ("đếm vào khoảng (bin)", "counting into bins", ("aten::scatter_add_",)),
    "sums": (
        "tổng, cực đại theo hàng",
        "sums and maxima of rows",
        ("aten::sum", "aten::amax", "aten::linalg_vector_norm"),
    ),
}


def ratio(arms, how, to="sdpa"):
    return arms[how]["seconds"] / arms[to]["seconds"]


def cost_table(numbers, which):
    """One row an arm: seconds, times a plain forward, megabytes, for each setting."""
    settings = list(numbers["forward"])
    rows = [_line(["", *settings]), _line(["---"] * (len(settings) + 1))]
    for how, names in ARMS.items():
        cells = []
        for arms in numbers["forward"].values():
            cells.append(f"{arms[how]['seconds']:.2f} s · {ratio(arms, how):.2f} × · {arms[how]['megabytes']:,.0f} MB")
        rows.append(_line([names[which], *cells]))
    return "\n".join(rows)


def work_table(numbers, which):
    """Seconds of CPU time by kind of work, plain and with the statistics."""
    rows = [_line(["", "`sdpa`", "`aero.profile`"]), _line(["---"] * 3)]
    rest = {how: sum(seconds.values()) for how, seconds in numbers["where"].items()}
    for *names, events in WORK.values():
        spent = {how: sum(seconds.get(event, 0) for event in events) for how, seconds in numbers["where"].items()}
        rest = {how: rest[how] - spent[how] for how in rest}
        rows.append(_line([names[which], *(f"{spent[how]:.2f} s" for how in ("sdpa", "ours"))]))
    others = (
        "phép tính từng phần tử (GELU, so sánh, mũ…), sao chép",
        "element by element (GELU, comparisons, exp …), copies",
    )
    rows.append(_line([others[which], *(f"{rest[how]:.2f} s" for how in ("sdpa", "ours"))]))
    return "\n".join(rows)


def corpus_table(numbers, which):
    heads = (
        ("", "văn bản", "token", "giây", "token/giây", "MB thêm"),
        ("", "texts", "tokens", "seconds", "tokens/s", "MB more"),
    )
    rows = [_line(heads[which]), _line(["---"] * 6)]
    names = [("cảnh", "scenes")[which]] * len(numbers["corpus"]) + [("31 cuốn tiểu thuyết", "31 novels")[which]]
    for name, run in zip(names, [*numbers["corpus"], *([numbers["novels"]] if "novels" in numbers else [])]):
        speed = f"{run['tokens'] / run['seconds']:,.0f}"
        sizes = f"{run['texts']:,}", f"{run['tokens']:,}", f"{run['seconds']:,.1f}"
        rows.append(_line([name, *sizes, speed, f"{run['megabytes']:.0f}"]))
    return "\n".join(rows)


def density_table(numbers, which):
    heads = (
        ("số giá trị", "scipy", "`aero.density`", "nhanh gấp mấy lần", "sai số, tính theo chiều cao đỉnh"),
        ("values", "scipy", "`aero.density`", "times as fast", "error, of the peak"),
    )
    rows = [_line(heads[which]), _line(["---"] * 5)]
    for run in numbers["density"]:
        ours = float(np.median(run["seconds"]))
        theirs = run["scipy_seconds"]
        cells = [f"{theirs:.3g} s", f"{ours:.2g} s", f"{theirs / ours:,.0f}", f"{run['error']:.0e}"]
        rows.append(_line([f"{run['n']:,}", *cells]))
    return "\n".join(rows)


def goals_table(numbers, which):
    """What was asked for, and what came out."""
    short, two, one = (numbers["forward"][setting] for setting in SETTINGS)
    million = numbers["density"][-1]
    lens = two["lens_hooks"]["seconds"] / two["ours"]["seconds"]
    more = max(arms["ours"]["megabytes"] - arms["sdpa"]["megabytes"] for arms in numbers["forward"].values())
    speeds = [run["tokens"] / run["seconds"] for run in numbers["corpus"]]
    largest, smallest = numbers["histogram"][-1], numbers["histogram"][0]
    faster = million["scipy_seconds"] / np.median(million["seconds"])
    heads = ("", "mục tiêu", "đo được"), ("", "goal", "measured")
    rows = [
        (("so với `sdpa` không tính logit, T = 1024, hai văn bản",
          "against `sdpa` without logits, T = 1024, two texts"),
         "≤ 1.15", f"{ratio(two, 'ours'):.2f}"),
        (("như trên, một văn bản", "the same, one text"), "≤ 1.15", f"{ratio(one, 'ours'):.2f}"),
        (("T = 128, 16 văn bản", "T = 128, 16 texts"), "≤ 1.15", f"{ratio(short, 'ours'):.2f}"),
        (("so với `sdpa` có tính logit, hai văn bản", "against `sdpa` with logits, two texts"),
         "", f"{ratio(two, 'ours', 'sdpa_logits'):.2f}"),
        (("nhanh gấp mấy lần cách nhanh nhất của TransformerLens", "times as fast as TransformerLens' fastest way"),
         "≥ 2.5", f"{lens:.1f}"),
        (("bộ nhớ tốn thêm so với `sdpa`, cao nhất", "memory beyond that of `sdpa`, at most"),
         "≤ 100 MB", f"{more:.0f} MB"),
        (("token/giây với `mini`, 10⁴ … 10⁶ token", "tokens/s with `mini`, 10⁴ … 10⁶ tokens"),
         ("xấp xỉ nhau", "even")[which], f"{min(speeds):,.0f} … {max(speeds):,.0f}"),
        (("`aero.density`, 10⁶ giá trị: nhanh gấp mấy lần scipy", "`aero.density`, 10⁶ values: times as fast as scipy"),
         "≥ 500", f"{faster:,.0f}"),
        (("sai số của `aero.density`", "its error"), "≤ 10⁻³", f"{million['error']:.0e}"),
        (("10⁸ giá trị từ biểu đồ tần suất: sai số; bộ nhớ thêm (10⁶: …)",
          "10⁸ values from a histogram: error; memory (10⁶: …)"),
         "", f"{largest['error']:.0e}; {largest['megabytes']:.0f} MB ({smallest['megabytes']:.0f} MB)"),
    ]  # fmt: skip
    lines = [_line(heads[which]), _line(["---"] * 3)]
    return "\n".join(lines + [_line([names[which], *cells]) for names, *cells in rows])


def machine_table(numbers, which):
    return ", ".join(f"{name} {value}" for name, value in numbers["machine"].items())


def _line(cells):
    return f"| {' | '.join(cells)} |"


TABLES = {f.__name__.removesuffix("_table"): f for f in
          (machine_table, goals_table, cost_table, work_table, corpus_table, density_table)}  # fmt: skip


def page(text, numbers, which):
    """A page with its tables written anew: `<!-- name:start -->` to `<!-- name:end -->`."""

    def fill(found):
        table = TABLES[found[2]](numbers, which)
        if PAGES[which].endswith(".vi.md") and found[2] != "machine":  # 1,025.5 is 1.025,5 there
            table = re.sub(r"(?<=\d)[.,](?=\d)", lambda mark: {",": ".", ".": ","}[mark[0]], table)
        return f"{found[1]}{table}\n{found[3]}"

    return MARKED.sub(fill, text)


def draw(numbers):
    """Cost of a forward pass, time against tokens, time against values, in the language that is set."""
    fig, (cost, tokens, values) = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained")
    settings = list(SETTINGS)
    shown = {"eager_weights": "#7A7A7A", "lens_hooks": "#E69F00", "ours": "#0072B2"}
    for i, (how, colour) in enumerate(shown.items()):
        heights = [ratio(numbers["forward"][setting], how) for setting in settings]
        bars = cost.bar(
            np.arange(3) + 0.26 * i - 0.26, heights, 0.24, color=colour, label=say(*ARMS[how][:2]).replace("`", "")
        )
        cost.bar_label(bars, fmt="%.2f", fontsize=8.5)
    cost.axhline(1, color="black", linestyle=":")
    cost.set_xticks(range(3), settings)
    cost.set(
        xlabel=say("văn bản × token", "texts × tokens"), ylabel=say("lần so với sdpa", "times a plain sdpa forward")
    )
    cost.set_ylim(0, 1.35 * cost.get_ylim()[1])
    cost.set_title(say("Thống kê tốn bao nhiêu?", "What do statistics cost?"))
    cost.legend(fontsize=10, loc="upper left")
    runs = numbers["corpus"]
    tokens.loglog([r["tokens"] for r in runs], [r["seconds"] for r in runs], "o-", color="#0072B2", linewidth=2)
    tokens.set(xlabel=say("số token", "tokens"), ylabel=say("giây", "seconds"))
    tokens.set_title(say("Thời gian có tuyến tính không?", "Is time linear in the tokens?"))
    runs = numbers["density"]
    for name, colour, seconds in (
        ("scipy.stats.gaussian_kde", "#D55E00", [r["scipy_seconds"] for r in runs]),
        ("aero.density", "#0072B2", [np.median(r["seconds"]) for r in runs]),
    ):
        values.loglog([r["n"] for r in runs], seconds, "o-", color=colour, linewidth=2, label=name)
    values.set(xlabel=say("số giá trị", "values"), ylabel=say("giây", "seconds"))
    values.set_title(say("Mật độ: cách nào nhanh?", "Density: which is fast?"))
    values.legend(fontsize=10)
    return fig


def write_pages():
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8"))
    for which, name in enumerate(PAGES):
        path = DOCS / name
        path.write_text(page(path.read_text(encoding="utf-8"), numbers, which), encoding="utf-8")
    aero.plots.use_style()
    for language, name in (("vi", "performance.vi.png"), ("en", "performance.png")):
        aero.set_language(language)
        draw(numbers).savefig(DOCS / name, dpi=110)
    print(goals_table(numbers, 1), cost_table(numbers, 1), sep="\n\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(*sys.argv[2:])
    write_pages()
