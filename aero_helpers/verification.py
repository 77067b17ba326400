"""What to compare on a model before a picture of its attention is believed: `verify`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature

import torch

from aero_helpers.capture import measuring
from aero_helpers.interventions import hide_key
from aero_helpers.language import say
from aero_helpers.models import LanguageModel, print_safely
from aero_helpers.require import require_kind

TEXT = "The old man looked at the sea, and the sea looked back at him. He smiled, and said nothing more to the boy."
MOST_TOKENS, LEAST_TOKENS = 32, 4
EXACT = 1e-4  # how far two runs of one shape may differ
CONSTANT = 10.0  # added to each raw score
SEEN = 0.01  # a weight that is compared
FINE_ENOUGH = 0.01  # the error of a scaled score, which is the relative error of its weight


@dataclass(frozen=True)
class Comparison:
    """One comparison: whether it held, and a line that says so with its figure, in the language chosen."""

    name: str
    passed: bool
    line: str


def verify(lm: LanguageModel, text: str = TEXT) -> bool:
    """Compare what is recorded of a model with what the model itself does; print a line each, and say whether all held.

    For any causal language model of transformers: `LanguageModel(name, model, tokenizer)`. The first 32 tokens of
    `text` are read. A line begins with ✔, with ✘ and says in which lesson to read on, or with – where the comparison
    cannot be made, as of a model that attends otherwise than softmax(QKᵀ / √d): it may be a sound model, which this
    package cannot measure. Meanwhile the model attends by its eager function for one run: run nothing else on it.

    Differences of logits are in units of their own spread (the median distance from the median). They may reach 1e-4;
    where two runs differ in shape and the number type is coarser than float32, 40 of its roundings. A weight of 0.01 or
    more may be off by a thousandth of itself; in a coarser type, by 8 roundings of the largest score. Whether the model
    is a good one is not asked.

    Raises TypeError for anything but a LanguageModel, ValueError within `lm.intervene`, for a model that predicts no
    next token, and for a text under 4 tokens; else what `lm.encode` raises.

    >>> import aero_helpers as aero
    >>> aero.set_language("en")
    >>> passed = aero.verify(aero.load("mini"))  # doctest: +ELLIPSIS
    ✔ two runs agree: largest difference of a logit ... (limit 0.0001)
    ✔ no leak of the future: ...
    >>> aero.set_language("both")
    """
    made = []
    for comparison in comparisons(lm, text):
        print_safely(comparison.line)
        made.append(comparison.passed)
    held, n = sum(made), len(made)
    print_safely(say(f"{held} trên {n} phép so sánh đạt", f"{held} of {n} comparisons held"))
    return held == n


def comparisons(lm: LanguageModel, text: str = TEXT) -> Iterator[Comparison]:
    """The comparisons of `verify`, one by one. Raises what it raises."""
    require_kind("lm", lm, LanguageModel)
    if lm.change is not None:
        raise ValueError(f"{lm.name}: expected the model as it is, got one within `intervene`; verify it outside")
    if lm.model.config.is_encoder_decoder or lm.model.get_output_embeddings() is None:
        raise ValueError(f"{lm.name}: expected a model that predicts the next token, got {type(lm.model).__name__}")
    run = Run(lm, text)
    return (_made(run, *question) for question in QUESTIONS)


class Run:
    """A model and the text on which it is verified."""

    def __init__(self, lm, text):
        self.lm, self.text = lm, text
        ids, labels = lm.encode(text, truncate=min(MOST_TOKENS, lm.context))
        self.n = len(labels)
        if self.n < LEAST_TOKENS:
            raise ValueError(f"text: expected {LEAST_TOKENS} tokens or more, got {self.n}: {text!r}")
        self.ids = ids.to(lm.model.device)
        self.eps = torch.finfo(lm.model.dtype).eps
        self.limit = max(EXACT, 40 * self.eps)
        self.reasons: set[str] = set()  # for which comparisons could not be made: each is told once

    def logits(self, ids=None, **named):
        """float32 [token, vocabulary] of one text, [batch, token, vocabulary] of several."""
        ids = self.ids if ids is None else ids
        several = ids if ids.dim() == 2 else ids[None]
        logits = self.lm.model(input_ids=several, use_cache=False, **named).logits.float().cpu()
        return logits if ids.dim() == 2 else logits[0]

    def difference(self, a, b):
        """The largest difference of two runs' logits, in units of the model's own spread."""
        return ((a - b).abs().max() / (b - b.median()).abs().median()).item()

    def record(self):
        return self.lm.record(self.text, truncate=self.n)

    def largest_score(self):
        """Of all heads' scaled scores, without their sign."""
        return (self.record().raw_scores.abs().max() / self.lm.head_size**0.5).item()

    def why_not(self, error):
        """Why a comparison could not be made, in both languages; a reason that was told before is not told again."""
        why = f"{type(error).__name__}: {error}"
        told, self.reasons = why in self.reasons, self.reasons | {why}
        vi, en = ("vì lý do trên", "as above") if told else (why, why)
        return f"không so sánh được: {vi}", f"could not be compared: {en}"

    def logits_differ(self, figure, limit=None):
        return within(figure, limit or self.limit, "một logit lệch nhiều nhất", "largest difference of a logit")


def within(figure, limit, vi, en):
    return figure <= limit, (f"{vi} {figure:.2g} (giới hạn {limit:.2g})", f"{en} {figure:.2g} (limit {limit:.2g})")


def two_runs(run):
    """The model as it stands, in evaluation mode or not: dropout shows as two different runs."""
    return run.logits_differ(run.difference(run.logits(), run.logits()), EXACT)


def no_leak(run):
    """Other words from some place on, at several places: nothing before it may change."""
    alone, figures = run.logits(), []
    for cut in sorted({1, run.n // 3, run.n // 2, run.n - 1}):
        others = run.ids.clone()
        others[cut:] = (others[cut:] + 1) % run.lm.n_embeddings
        figures.append(run.difference(run.logits(others)[:cut], alone[:cut]))
    return run.logits_differ(max(figures), EXACT)


def padding(run):
    """Half of the text, alone, against the same behind as many padding tokens and beside another text."""
    part = run.ids[run.n // 2 :]
    n = len(part)
    batch = torch.stack([torch.cat([run.ids[:1].expand(n), part]), torch.cat([part, run.ids[:n]])])
    mask = torch.ones_like(batch)
    mask[0, :n] = 0
    positions, alone = {}, {}
    if "position_ids" in signature(type(run.lm.model).forward).parameters:  # others count by the mask
        positions = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
        alone = {"position_ids": torch.arange(n, device=part.device)[None]}
    padded = run.logits(batch, attention_mask=mask, **positions)[0, n:]
    return run.logits_differ(run.difference(padded, run.logits(part, **alone)))


def cache(run):
    """Half of the text at once, the rest token by token with a cache, against the whole text."""
    half, steps = run.n // 2, []
    found = run.lm.model(input_ids=run.ids[None, :half], use_cache=True)
    for i in range(half, run.n):
        found = run.lm.model(input_ids=run.ids[None, i : i + 1], past_key_values=found.past_key_values, use_cache=True)
        steps.append(found.logits[0].float().cpu())
    return run.logits_differ(run.difference(torch.cat(steps), run.logits()[half:]))


def layers(run):
    """Queries and keys are taken in each layer that the config states, or this is refused."""
    n, stated = len(run.lm.queries_and_keys(run.text, truncate=run.n)[0]), run.lm.n_layers
    return n == stated, (f"{n} trên {stated} tầng", f"{n} of {stated} layers")


def heads(run):
    """Query heads, key heads and their sizes as the model multiplies them, against the config."""
    queries, keys = run.lm.queries_and_keys(run.text, truncate=run.n)
    got = queries.shape[1], keys.shape[1], queries.shape[-1]
    n_keys = getattr(run.lm.model.config, "num_key_value_heads", None) or run.lm.n_heads
    stated = run.lm.n_heads, n_keys, run.lm.head_size
    vi, en = ("{} đầu truy vấn, {} đầu khóa, mỗi đầu {} số", "{} query heads, {} key heads of {} numbers")
    if got == stated:
        return True, (vi.format(*got), en.format(*got))
    return False, (
        f"{vi.format(*got)}; config ghi {vi.format(*stated)}",
        f"{en.format(*got)}; the config states {en.format(*stated)}",
    )


def own_attention(run):
    """The softmax of the recorded scores against the weights that the model's own eager function returns."""
    weights, model = run.record().weights(), run.lm.model
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        own = model(input_ids=run.ids[None], use_cache=False, output_attentions=True).attentions
    finally:
        model.set_attn_implementation(before)
    own = torch.cat(own).float().cpu()
    larger = torch.maximum(own, weights)
    figure = ((own - weights).abs() / larger)[larger >= SEEN].max().item()
    limit = max(1e-3, 8 * run.eps * max(1.0, run.largest_score()))
    return within(
        figure, limit, "một trọng số lệch nhiều nhất, so với chính nó,", "a weight is off, of itself, by up to"
    )


def constant(run):
    """A constant on every score moves no weight, so no logit."""
    alone = run.logits()
    with run.lm.intervene(lambda scores, layer: scores + CONSTANT):
        return run.logits_differ(run.difference(run.logits(), alone))


def reaches(run):
    """A change that has to show, as a control: without it, "nothing changed" may mean that nothing was reached."""
    alone = run.logits()
    with run.lm.intervene(hide_key(1)):
        figure = run.difference(run.logits(), alone)
    if figure <= run.limit and len(run.ids.unique()) == 1:
        raise ValueError("text: expected different tokens, as where all are alike nothing has to change")
    least = f"{run.limit:.2g}"
    vi = f"một logit đổi nhiều nhất {figure:.2g} (cần hơn {least})"
    return figure > run.limit, (vi, f"a logit changes by up to {figure:.2g} (more than {least} is needed)")


def tokens(run):
    """The text, made of its tokens again; those that the tokenizer adds are counted."""
    ids = run.lm.token_ids(run.text)
    back = run.lm.tokenizer.decode(ids, skip_special_tokens=True)
    n_added = len(ids) - len(run.lm.tokenizer(run.text, add_special_tokens=False, verbose=False)["input_ids"])
    vi = f"{len(ids)} token, trong đó {n_added} do tokenizer tự thêm"
    en = f"{len(ids)} tokens, {n_added} of them added by the tokenizer"
    if back == run.text:
        return True, (vi, en)
    return False, (f"{vi}; ghép lại thành {back!r:.60}", f"{en}; they make {back!r:.60}")


def number_type(run):
    """How finely the model's numbers tell its largest scaled score: a weight's relative error."""
    kinds = {weight.dtype for weight in run.lm.model.parameters() if weight.is_floating_point()}
    names = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in kinds))
    score = run.largest_score()
    error = max(torch.finfo(kind).eps for kind in kinds) * score
    vi = f"{names}: điểm lớn nhất sau khi chia cho √d là {score:.3g}, sai số cỡ {error:.2g} (giới hạn {FINE_ENOUGH})"
    en = f"{names}: the largest scaled score, {score:.3g}, is off by about {error:.2g} (limit {FINE_ENOUGH})"
    return error <= FINE_ENOUGH, (vi, en)


# A comparison, its name in both languages, the lesson to read on in.
QUESTIONS: list[tuple[Callable, tuple[str, str], str]] = [
    (two_runs, ("hai lần chạy cho cùng kết quả", "two runs agree"), "08"),
    (no_leak, ("tương lai không lọt vào", "no leak of the future"), "01"),
    (padding, ("phần đệm (padding) phía trước không làm thay đổi gì", "padding in front changes nothing"), "08"),
    (cache, ("bộ nhớ đệm (cache) không làm thay đổi gì", "the cache changes nothing"), "08"),
    (layers, ("thấy được mọi tầng", "every layer is seen"), "06"),
    (heads, ("số lượng đầu đúng như config", "heads as the config states"), "07"),
    (own_attention, ("softmax của điểm đã ghi = chú ý của mô hình", "softmax of recorded scores = own weights"), "03"),
    (constant, ("cộng hằng số không làm thay đổi gì", "a constant changes nothing"), "04"),
    (reaches, ("che một khóa thì kết quả phải đổi", "hiding a key changes something"), "04"),
    (tokens, ("ghép các token lại thành văn bản ban đầu", "the tokens make the text again"), "08"),
    (number_type, ("kiểu số (dtype) đủ chính xác", "a number type that is fine enough"), "08"),
]  # fmt: skip


def _made(run, compare, name, lesson):
    try:
        # two runs are of the model as it stands, the others of the model in evaluation mode
        with torch.no_grad() if compare is two_runs else measuring(run.lm.model):
            passed, said = compare(run)
        mark = "✔" if passed else "✘"
    except Exception as error:  # whatever a model does on a run that it was not made for: the comparison is not made
        passed, mark, said = False, "–", run.why_not(error)
    onwards = (f" → bài {lesson}", f" → lesson {lesson}") if mark == "✘" else ("", "")
    vi, en = (f"{mark} {each}: {words}{onward}" for each, words, onward in zip(name, said, onwards))
    return Comparison(compare.__name__, passed, say(vi, en, between="\n  "))
