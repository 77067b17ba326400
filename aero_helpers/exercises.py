"""The checkers: they run an answer on several inputs and say what is wrong with it.

An exercise is a list of inputs, the right function, and the usual mistakes: wrong functions, each
with the hint that belongs to it. An answer that computes what a mistake computes gets its hint.
A checker never raises because of the answer, and never shows the solution.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from traceback import format_exception_only

import numpy as np
import torch
from scipy.stats import norm

from aero_helpers import attention, interventions, kde, matrices
from aero_helpers.language import say

MARKS = {"right": ("✅", "#1b7f3b"), "wrong": ("❌", "#b3261e"), "not attempted": ("⬜", "#555555")}


@dataclass(frozen=True)
class Verdict:
    """What a checker found. True where the answer is right."""

    state: str  # "right", "wrong" or "not attempted"
    message: str

    def __bool__(self):
        return self.state == "right"

    def __repr__(self):
        return f"{MARKS[self.state][0]} {self.message}"

    def _repr_html_(self):
        mark, colour = MARKS[self.state]
        lines = self.message.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")
        return f'<div style="border-left: 4px solid {colour}; padding: 0.4em 0.8em">{mark} {lines}</div>'


@dataclass(frozen=True)
class Exercise:
    """inputs: argument tuples; result: the wanted shape, in words; mistakes: (wrong function, vi, en)."""

    inputs: list  # telling ones first: on a trivial input many mistakes look alike
    right: callable
    result: str
    mistakes: list = field(default_factory=list)

    def __repr__(self):
        return say("Gọi với hàm của bạn: check.…(my_function)", "Call it with your function: check.…(my_function)")

    def __call__(self, answer):
        if answer is None or answer is ...:
            return _not_attempted()
        if not callable(answer):
            kind = type(answer).__name__
            return _wrong(f"Cần đưa vào một hàm, nhưng nhận được {kind}.", f"Expected a function, got {kind}.")
        for arguments in self.inputs:
            verdict = self._try(answer, arguments)
            if verdict is not None:
                return verdict
        n = len(self.inputs)
        return Verdict("right", say(f"Đúng với cả {n} đầu vào thử.", f"Right, on all {n} inputs tried.", "\n"))

    def _try(self, answer, arguments):
        """A verdict that ends the examination, or None where this input was answered rightly."""
        given = deepcopy(arguments)
        try:
            got = answer(*given)
        except (Exception, SystemExit) as error:  # whatever the student's code raises is theirs to read
            what = "".join(format_exception_only(error)).strip()
            return _wrong(f"Hàm của bạn dừng vì lỗi {what}", f"Your function stopped with {what}")
        if got is None or got is ... or (isinstance(got, tuple) and any(part is ... for part in got)):
            return _not_attempted()
        if not all(map(_same, given, arguments)):
            return _wrong(
                "Hàm của bạn đã sửa đầu vào tại chỗ (in-place). Hãy tạo tensor mới.",
                "Your function changed its input in place. Make a new tensor instead.",
            )
        expected = self.right(*deepcopy(arguments))
        if isinstance(expected, tuple) and isinstance(got, list):
            got = tuple(got)
        if _same(got, expected):
            return None
        for mistake, vi, en in self.mistakes:
            if _same(got, mistake(*deepcopy(arguments))):
                return _wrong(vi, en)
        if _form(got) is None or _form(got) != _form(expected):
            return self._complaint_about_form(got, expected)
        return self._complaint_about_numbers(got)

    def _complaint_about_form(self, got, expected):
        want, have = _form(expected), _form(got)
        if have is None:
            kind = f"{type(got).__name__} {_dtype(got)}".strip()
            return _wrong(f"Cần {self.result}, nhưng nhận được {kind}.", f"Expected {self.result}, got {kind}.")
        return _wrong(
            f"Kích thước chưa đúng: cần {self.result}, ở đây là {want}, nhưng nhận được {have}.",
            f"The shape is off: expected {self.result}, here {want}, got {have}.",
        )

    def _complaint_about_numbers(self, got):
        if any(np.isnan(part).any() for part in _parts(got)):
            return _wrong(
                "Kết quả có NaN: do 0/0, do 0 · ∞, hay do một hàng toàn −∞ trước softmax?",
                "The result has NaN: from 0/0, from 0 · ∞, or from a row of nothing but −∞ before a softmax?",
            )
        return _wrong(
            "Kích thước đúng, nhưng các con số chưa đúng. Hãy thử trên một ví dụ nhỏ và so từng số.",
            "The shape is right, the numbers are not. Try a tiny example and compare number by number.",
        )


def _wrong(vi, en):
    return Verdict("wrong", say(vi, en, "\n"))


def _not_attempted():
    vi, en = "Chưa có kết quả: hãy thay dấu ..., và nhớ return", "No result yet: replace the ..., and remember return"
    return Verdict("not attempted", say(vi, en))


def _parts(value):
    """An answer as a list of float arrays, several for a tuple; None where it holds no real numbers."""
    try:
        return [_real_numbers(part) for part in (value if isinstance(value, tuple) else (value,))]
    except Exception:  # an answer may be any object, and an object may do anything
        return None


def _real_numbers(part):
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu().to_dense()
        part = (part if part.is_complex() else part.double()).numpy()
    part = np.asarray(part)
    if part.dtype.kind not in "biuf":
        raise TypeError(f"expected real numbers, got {part.dtype}")
    return part.astype(float)


def _form(value):
    """The shape in words, or the shapes of a tuple; None where the answer holds no real numbers."""
    parts = _parts(value)
    if parts is None:
        return None
    shapes = [str(list(part.shape)) for part in parts[:9]]
    return f"({', '.join(shapes)})" if isinstance(value, tuple) else shapes[0]


def _dtype(got):
    try:
        return got.dtype
    except Exception:  # no array, or an object that raises at every touch
        return ""


def _same(a, b):
    if isinstance(a, tuple) != isinstance(b, tuple):
        return False
    a, b = _parts(a), _parts(b)
    if a is None or b is None or [x.shape for x in a] != [x.shape for x in b]:
        return False
    return all(np.allclose(x, y, rtol=1e-4, atol=1e-5, equal_nan=True) for x, y in zip(a, b))


def _random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _masked(scores):
    past = attention.causal_mask(scores.shape[-1])
    return scores.masked_fill(~past, -torch.inf)


def _additive_mask(n_tokens):
    return _masked(torch.zeros(n_tokens, n_tokens))


def _key_bias_part(q, b_k):
    return torch.einsum("hqd,hd->hq", q, b_k)[..., None].expand(-1, -1, q.shape[1])


def _in_the_whole_space(w_q, w_k):
    return torch.linalg.svdvals(w_q @ w_k.T)


def _reflected(values, x, h):
    return sum(kde.gaussian_sum(images, x, h) for images in (values, -values, 2 - values))


def _split_gpt_neox(fused, n_heads):
    return attention.split_heads(fused, n_heads).chunk(3, dim=-1)


class check:
    """One checker for each exercise: `check.split_heads(my_function)`."""

    additive_mask = Exercise(
        inputs=[(4,), (7,), (1,)],
        right=_additive_mask,
        result="[T, T]",
        mistakes=[
            (lambda n: _additive_mask(n).T, "Bạn che quá khứ thay vì tương lai: hàng là truy vấn, cột là khóa.",
             "You hide the past instead of the future: rows are queries, columns are keys."),
            (lambda n: attention.causal_mask(n), "Đây là mặt nạ Boolean. Mặt nạ cộng có 0 và −∞.",
             "This is the boolean mask. The additive one holds 0 and −∞."),
            (lambda n: _additive_mask(n).nan_to_num(neginf=-1e9),
             "Bạn dùng một số âm rất lớn. Hãy dùng −∞: chỉ e^(−∞) mới đúng bằng 0.",
             "You used a very large negative number. Use −∞: only e^(−∞) is exactly 0."),
            (lambda n: _additive_mask(n) + 1,
             "Có 1 ở nơi cần 0. Softmax không nhận ra, nhưng điểm số thì khác.",
             "There is 1 where 0 belongs. The softmax would not notice, but the scores are changed."),
            (lambda n: torch.zeros(n, n).masked_fill(~attention.causal_mask(n).tril(-1), -torch.inf),
             "Đường chéo cũng bị che: token được phép nhìn chính nó.",
             "The diagonal is hidden too: a token may look at itself."),
        ],
    )  # fmt: skip

    attention_weights = Exercise(
        inputs=[(_random(5, 5) * 8, 16), (_random(9, 9) * 20, 64), (_random(1, 1) * 8, 16)],
        right=attention.attention_weights,
        result="[T, T]",
        mistakes=[
            (lambda s, d: _masked(s / d**0.5).softmax(-2).nan_to_num(0),
             "Softmax chạy sai trục: mỗi hàng (mỗi truy vấn) phải có tổng bằng 1, hãy lấy softmax theo khóa, dim=-1.",
             "The softmax runs over the wrong axis: each row (each query) must sum to 1: softmax over keys, dim=-1."),
            (lambda s, d: (s / d**0.5).softmax(-1), "Thiếu mặt nạ: các token nhìn thấy tương lai.",
             "The mask is missing: tokens see the future."),
            (lambda s, d: s / d**0.5, "Đây là điểm, chưa phải trọng số: thiếu mặt nạ và softmax.",
             "These are scores, not weights: mask and softmax are missing."),
            (lambda s, d: _masked(s / d**0.5), "Đây là điểm, chưa phải trọng số: thiếu softmax.",
             "These are scores, not weights: the softmax is missing."),
            (lambda s, d: _masked(s * d**0.5).softmax(-1), "Bạn nhân với √head_size, cần chia.",
             "You multiplied by √head_size; divide."),
            (lambda s, d: _masked(s).softmax(-1), "Bạn quên chia cho √head_size.",
             "You forgot to divide by √head_size."),
            (lambda s, d: _masked(s / d).softmax(-1), "Bạn chia cho head_size, cần chia cho căn bậc hai của nó.",
             "You divided by head_size; divide by its square root."),
            (lambda s, d: (s / d**0.5).softmax(-1) * attention.causal_mask(s.shape[-1]),
             "Bạn che sau softmax: tương lai đã lấy mất một phần của tổng, các hàng không còn tổng bằng 1.",
             "The mask comes after the softmax: the future has taken its share, and rows no longer sum to 1."),
            (lambda s, d: ((s / d**0.5) * attention.causal_mask(s.shape[-1])).softmax(-1),
             "Bạn nhân với mặt nạ: điểm 0 vẫn nhận e^0 = 1. Tương lai cần −∞.",
             "You multiplied by the mask: a score of 0 still gets e^0 = 1. The future needs −∞."),
        ],
    )  # fmt: skip

    split_qkv = Exercise(
        inputs=[(_random(4, 12),), (_random(2, 5, 24),)],
        right=attention.split_qkv,
        result="(q, k, v), [..., T, D] × 3",
        mistakes=[
            (lambda x: (x[..., 0::3], x[..., 1::3], x[..., 2::3]),
             "Bạn lấy xen kẽ từng cột. GPT-2 xếp trọn Q, rồi trọn K, rồi trọn V.",
             "You took every third column. GPT-2 puts all of Q first, then all of K, then all of V."),
            (lambda x: attention.split_qkv(x)[::-1], "Thứ tự bị đảo ngược: GPT-2 xếp Q, K, V.",
             "The order is reversed: GPT-2 has Q, K, V."),
            (lambda x: tuple(attention.split_qkv(x)[i] for i in (1, 0, 2)), "Ba mảnh đúng, thứ tự chưa đúng: Q, K, V.",
             "The three pieces are right, the order is not: Q, K, V."),
        ],
    )  # fmt: skip

    split_heads = Exercise(
        inputs=[(_random(5, 12), 3), (_random(4, 32), 4), (_random(6, 8), 1)],
        right=attention.split_heads,
        result="[head, T, head_size]",
        mistakes=[
            (lambda x, n: x.reshape(n, x.shape[0], x.shape[1] // n),
             "Đúng kích thước nhưng trộn lẫn các token: reshape hay view thành (head, T, ...) cắt theo thứ tự bộ nhớ. "
             "Cắt chiều cuối trước, rồi mới đổi chỗ hai chiều.",
             "The right shape, but tokens are mixed up: reshape or view to (head, T, ...) cuts in memory order. "
             "Cut the last dimension first, then swap two dimensions."),
            (lambda x, n: x.reshape(x.shape[0], x.shape[1] // n, n).permute(2, 0, 1),
             "Bạn lấy xen kẽ từng cột. Mỗi đầu là một đoạn cột liền nhau.",
             "You took every n-th column. A head is a run of neighbouring columns."),
        ],
    )  # fmt: skip

    center_rows = Exercise(
        inputs=[(_random(4, 4) * 5 - 9,), (_random(3, 7, 7) * 5 + 4,)],
        right=lambda s: interventions.center_rows(s).masked_fill(~attention.causal_mask(s.shape[-1]), 0),
        result="[..., query, key]",
        mistakes=[
            (lambda s: (s - s.mean(-1, keepdim=True)) * attention.causal_mask(s.shape[-1]),
             "Trung bình có tính cả tương lai. Ở hàng i (đếm từ 0), mô hình chỉ dùng i + 1 khóa.",
             "Your mean includes the future. In row i (counted from 0) the model uses only i + 1 keys."),
            (lambda s: (s - (s * attention.causal_mask(s.shape[-1])).mean(-1, keepdim=True))
             * attention.causal_mask(s.shape[-1]),
             "Bạn chia cho T. Hàng i chỉ có i + 1 khóa.", "You divided by T. Row i has only i + 1 keys."),
            (lambda s: (s - s.mean(-2, keepdim=True)) * attention.causal_mask(s.shape[-1]),
             "Bạn lấy trung bình theo truy vấn (cột). Cần trung bình của mỗi hàng, dim=-1.",
             "You averaged over queries (columns). The mean of each row is needed, dim=-1."),
            (lambda s: (s - s[..., attention.causal_mask(s.shape[-1])].mean()) * attention.causal_mask(s.shape[-1]),
             "Bạn dùng một trung bình chung cho mọi hàng. Mỗi hàng cần trung bình của riêng nó.",
             "You use one mean for all rows. Each row needs its own."),
            (interventions.center_rows, "Phần quá khứ đúng rồi. Hãy đặt 0 ở tương lai.",
             "The past is right. Put 0 in the future."),
        ],
    )  # fmt: skip

    key_bias_part = Exercise(
        inputs=[(_random(3, 5, 4), _random(3, 4)), (_random(1, 7, 8), _random(1, 8))],
        right=_key_bias_part,
        result="[head, query, key]",
        mistakes=[
            (lambda q, b_k: _key_bias_part(q, b_k).mT,
             "Bạn có một số cho mỗi khóa. q·b_K là một số cho mỗi truy vấn: nó không đổi dọc theo hàng.",
             "You have one number a key. q·b_K is one number a query: it does not change along the row."),
            (lambda q, b_k: _key_bias_part(q, b_k)[..., 0],
             "Các con số đúng, nhưng mới là [đầu, truy vấn]: hãy đặt chúng ở mọi khóa của hàng.",
             "The numbers are right, but only [head, query]: put them at every key of the row."),
            (lambda q, b_k: _key_bias_part(q, b_k) / q.shape[-1] ** 0.5,
             "Bạn đã chia cho √d; điểm thô thì không chia.", "You divided by √d; raw scores are not divided."),
            (lambda q, b_k: _key_bias_part(q, b_k) * attention.causal_mask(q.shape[1]),
             "Bạn đã áp mặt nạ; điểm thô thì không che gì cả: tương lai cũng có điểm.",
             "You applied the mask; raw scores are not masked: the future has scores too."),
        ],
    )  # fmt: skip

    split_gpt_neox = Exercise(
        inputs=[(_random(5, 24), 2), (_random(3, 54), 3)],
        right=_split_gpt_neox,
        result="(q, k, v), [head, T, head_size] × 3",
        mistakes=[
            (lambda x, n: tuple(attention.split_heads(part, n) for part in attention.split_qkv(x)),
             "Đây là cách xếp của GPT-2 (trọn Q, trọn K, trọn V). GPT-NeoX xếp q, k, v theo từng đầu.",
             "This is GPT-2's layout (all Q, all K, all V). GPT-NeoX has q, k, v head by head."),
            (lambda x, n: _split_gpt_neox(x, n)[::-1], "Thứ tự bị đảo ngược: trong mỗi đầu là q, k, v.",
             "The order is reversed: within a head it is q, k, v."),
            (lambda x, n: tuple(part.transpose(0, 1) for part in _split_gpt_neox(x, n)),
             "Các con số đúng, nhưng là [T, đầu, head_size]: hãy đổi chỗ chiều thứ nhất và chiều thứ hai.",
             "The numbers are right, but as [T, head, head_size]: swap the first two dimensions."),
        ],
    )  # fmt: skip

    gaussian_kde = Exercise(
        inputs=[
            (np.array([-2.0, 0.5, 1.0, 4.0]), np.linspace(-6, 8, 15), 0.7),
            (np.array([0.0]), np.linspace(-3, 3, 7), 1.0),
        ],
        right=kde.gaussian_sum,
        result="[len(x)]",
        mistakes=[
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * len(v),
             "Diện tích dưới đường cong là n, không phải 1: hãy chia cho số giá trị, `len(values)`.",
             "The area under the curve is n, not 1: divide by the number of values, `len(values)`."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * len(v) / len(x),
             "Bạn chia cho len(x). Hãy chia cho số giá trị, len(values).",
             "You divided by len(x). Divide by the number of values, len(values)."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * np.sqrt(2 * np.pi), "φ còn thiếu 1/√(2π).",
             "φ lacks its 1/√(2π)."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) / np.sqrt(2 * np.pi), "Cần √(2π), không phải 2π.",
             "It takes √(2π), not 2π."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h / np.sqrt(2)) / np.sqrt(2), "Thiếu ½ trong số mũ: e^(−z²/2).",
             "The ½ in the exponent is missing: e^(−z²/2)."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * h,
             "Bạn quên chia cho độ rộng nhân h: diện tích phải bằng 1.",
             "You forgot to divide by the bandwidth h: the area must be 1."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * h * np.sqrt(2 * np.pi),
             "Mỗi đường Gauss còn thiếu hệ số 1 / (h √(2π)).", "Each Gaussian lacks its factor 1 / (h √(2π))."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) * h * np.sqrt(2 * np.pi) * len(v),
             "Đã có tổng các đường Gauss, nhưng chưa chuẩn hóa: chia cho n · h · √(2π).",
             "The sum of Gaussians is there, not yet normalised: divide by n · h · √(2π)."),
        ],
    )  # fmt: skip

    singular_values = Exercise(
        inputs=[(_random(12, 3), _random(3, 12).T), (_random(20, 4), _random(4, 20).T - 1), (_random(5, 1),) * 2],
        right=matrices.singular_values,
        result="[head_size]",
        mistakes=[
            (_in_the_whole_space,
             "Các con số đúng, nhưng có tới D số: hạng của W_Q W_Kᵀ không quá head_size, phần còn lại là sai số "
             "làm tròn. Hãy giữ head_size số đầu tiên.",
             "The numbers are right, but D of them: the rank of W_Q W_Kᵀ is head_size at most, the rest is rounding. "
             "Keep the first head_size."),
            (lambda q, k: torch.linalg.eigvals(q @ k.T).abs().sort(descending=True).values,
             "Đây là trị riêng. W_Q W_Kᵀ không đối xứng, nên trị riêng và giá trị kỳ dị là hai thứ khác nhau.",
             "These are eigenvalues. W_Q W_Kᵀ is not symmetric, so they are not its singular values."),
            (lambda q, k: torch.linalg.svdvals(q.T @ k),
             "Đây là W_Qᵀ W_K, [head_size, head_size]: tích khác, giá trị kỳ dị khác.",
             "This is W_Qᵀ W_K, [head_size, head_size]: another product, with other singular values."),
            (lambda q, k: torch.linalg.svdvals(q) * torch.linalg.svdvals(k),
             "Bạn nhân giá trị kỳ dị của hai ma trận. Chỉ đúng khi các hướng của chúng trùng nhau.",
             "You multiplied the singular values of the two matrices. That holds only where their directions agree."),
            (lambda q, k: matrices.singular_values(q, k) ** 2,
             "Đây là bình phương của giá trị kỳ dị (trị riêng của M Mᵀ): hãy lấy căn.",
             "These are squares of the singular values (eigenvalues of M Mᵀ): take the root."),
            (lambda q, k: matrices.singular_values(q, k).flip(-1), "Thứ tự bị đảo: số lớn nhất đứng đầu.",
             "The order is reversed: the largest comes first."),
        ],
    )  # fmt: skip

    reflected_kde = Exercise(
        inputs=[
            (np.array([0.02, 0.1, 0.35, 0.97]), np.linspace(0, 1, 11), 0.1),
            (np.array([0.5, 0.0]), np.linspace(0, 1, 6), 0.15),
        ],
        right=_reflected,
        result="[len(x)]",
        mistakes=[
            (kde.gaussian_sum, "Chưa phản xạ: phần tràn ra ngoài [0, 1] bị mất.",
             "Nothing is reflected yet: what spills out of [0, 1] is lost."),
            (lambda v, x, h: _reflected(v, x, h) / 3,
             "Bạn lấy trung bình trên 3n giá trị. Ảnh đối xứng không phải dữ liệu mới: hãy chia cho n.",
             "You took the mean over 3n values. Mirror images are no new data: divide by n."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) + kde.gaussian_sum(-v, x, h),
             "Mới phản xạ qua 0, còn thiếu biên 1: ảnh của v qua 1 là 2 − v.",
             "Reflected at 0 only; the bound 1 is missing: the image of v in 1 is 2 − v."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) + kde.gaussian_sum(2 - v, x, h),
             "Mới phản xạ qua 1, còn thiếu biên 0: ảnh của v qua 0 là −v.",
             "Reflected at 1 only; the bound 0 is missing: the image of v in 0 is −v."),
            (lambda v, x, h: sum(kde.gaussian_sum(images, x, h) for images in (v, -v, 1 - v)),
             "Ảnh của v qua 1 là 2 − v, không phải 1 − v.", "The image of v in 1 is 2 − v, not 1 − v."),
            (lambda v, x, h: kde.gaussian_sum(v, x, h) / (norm.cdf(1, v, h) - norm.cdf(0, v, h)).mean(),
             "Bạn chia cho diện tích còn lại. Diện tích thành 1, nhưng mật độ ở hai biên vẫn bị hạ thấp: hãy phản xạ.",
             "You divided by the area that is left. The area becomes 1, but the ends stay too low: reflect."),
        ],
    )  # fmt: skip
