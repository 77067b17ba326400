"""Lesson 01, the causal mask."""

import torch

from aero_helpers import attention
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn, far_below, masked

FINITE = (
    "Bạn dùng một số âm hữu hạn làm mặt nạ. Khi chính các điểm rất âm, tương lai lọt qua: hãy dùng −∞.",
    "Your mask is a finite number: where the scores are very negative, the future comes through. Use −∞.",
)
UNSHIFTED = (
    "exp của các điểm này là 0 hoặc ∞, và 0/0 là NaN: trước khi lấy exp, trừ mỗi hàng cho điểm lớn nhất"
    " ở quá khứ của nó.",
    "exp of these scores is 0 or ∞, and 0/0 is NaN: subtract each row's largest past score before exp.",
)


def _additive_mask(n_tokens):
    return masked(torch.zeros(n_tokens, n_tokens))


def _unshifted_softmax(scores):
    """The softmax as its formula stands: right until e^score leaves the floats."""
    return scores.exp() / scores.exp().sum(-1, keepdim=True)


def _attend(q, k, v):
    return masked(q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v


def _masked_too_late(q, k, v):
    weights = (q @ k.T / q.shape[-1] ** 0.5).softmax(-1)
    return (weights * attention.causal_mask(len(q))) @ v


def _future_leak(scores, head_size, fill):
    future = ~attention.causal_mask(len(scores))
    return (scores / head_size**0.5 + fill * future).softmax(-1)[future].max()


rows_that_change = Prediction(
    right=(1, 2, 3),
    why=(
        "Đúng: truy vấn 0 không được nhìn khóa 1, còn các truy vấn 1, 2, 3 thì nhìn thấy nó.",
        "Right: query 0 must not look at key 1, queries 1, 2 and 3 see it.",
    ),
    kind=(
        "danh sách số thứ tự hàng, theo thứ tự tăng, như [0, 2]",
        "a list of row numbers in rising order, as [0, 2]",
    ),
    mistakes=[
        ((0, 1, 2, 3),
         "Đó là khi không có mặt nạ. Hàng 0 có được nhìn khóa 1 không?",
         "That is without a mask. May row 0 look at key 1?"),
        ((0, 1),
         "Bạn đang che quá khứ: hàng là truy vấn, và truy vấn được nhìn các khóa đứng trước nó.",
         "You are hiding the past: rows are queries, and a query may look at the keys before it."),
        ((1,), "Hàng 1 thì đúng. Còn truy vấn nào khác nhìn thấy khóa 1?", "Row 1, yes. Who else sees key 1?"),
        ((2, 3), "Một token cũng được nhìn chính nó.", "A token may look at itself, too."),
    ],
)  # fmt: skip


additive_mask = Exercise(
    inputs=[(4,), (7,), (1,)],
    right=_additive_mask,
    result="[T, T]",
)


@additive_mask.mistake(
    "Bạn che quá khứ thay vì tương lai: hàng là truy vấn, cột là khóa.",
    "You hide the past instead of the future: rows are queries, columns are keys.",
)
def hides_the_past(n_tokens):
    return _additive_mask(n_tokens).T


@additive_mask.mistake(
    "Bạn che quá khứ và cả chính token ấy: −∞ phải đứng TRÊN đường chéo.",
    "You hide the past and the token itself: −∞ belongs ABOVE the diagonal.",
)
def hides_the_past_and_itself(n_tokens):
    return torch.full((n_tokens, n_tokens), -torch.inf).tril()


@additive_mask.mistake(
    "Đây là mặt nạ Boolean. Mặt nạ cộng có 0 và −∞.", "This is the boolean mask. The additive one holds 0 and −∞."
)
def boolean_mask(n_tokens):
    return attention.causal_mask(n_tokens)


@additive_mask.mistake(
    "Bạn dùng một số âm rất lớn. Hãy dùng −∞: chỉ e^(−∞) mới đúng bằng 0.",
    "You used a very large negative number. Use −∞: only e^(−∞) is exactly 0.",
)
def large_negative_number(n_tokens):
    return _additive_mask(n_tokens).nan_to_num(neginf=-1e9)


@additive_mask.mistake(
    "Có 1 ở nơi cần 0. Softmax không nhận ra, nhưng các điểm số đã bị đổi.",
    "There is 1 where 0 belongs. The softmax would not notice, but the scores are changed.",
)
def one_where_zero_belongs(n_tokens):
    return _additive_mask(n_tokens) + 1


@additive_mask.mistake(
    "Đường chéo cũng bị che: token được phép nhìn chính nó.", "The diagonal is hidden too: a token may look at itself."
)
def hides_the_diagonal(n_tokens):
    return torch.zeros(n_tokens, n_tokens).masked_fill(~attention.causal_mask(n_tokens).tril(-1), -torch.inf)


attention_weights = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(5, 5) * 8, 16),
            (draw(9, 9) * 20, 64),
            (draw(1, 1) * 8, 16),
            (draw(4, 4).double() * 8 - 1e10, 16),  # here −10⁹ is no mask
        ]
    ),
    right=attention.attention_weights,
    result="[T, T]",
)


@attention_weights.mistake(
    "Softmax chạy sai trục: mỗi hàng (mỗi truy vấn) phải có tổng bằng 1, hãy lấy softmax theo khóa, dim=-1.",
    "The softmax runs over the wrong axis: each row (each query) must sum to 1: softmax over keys, dim=-1.",
)
def softmax_over_queries(scores, head_size):
    return masked(scores / head_size**0.5).softmax(-2).nan_to_num(0)


@attention_weights.mistake(
    "Thiếu mặt nạ: các token nhìn thấy tương lai.", "The mask is missing: tokens see the future."
)
def no_mask(scores, head_size):
    return (scores / head_size**0.5).softmax(-1)


@attention_weights.mistake(*FINITE)
def finite_mask(scores, head_size):
    return masked(scores / head_size**0.5, -1e9).softmax(-1)


@attention_weights.mistake("Bạn chia cho √T; cần √head_size.", "You divided by √T; √head_size is needed.")
def divided_by_root_of_length(scores, head_size):
    return masked(scores / len(scores) ** 0.5).softmax(-1)


@attention_weights.mistake(
    "Đây là điểm, chưa phải trọng số: thiếu mặt nạ và softmax.",
    "These are scores, not weights: mask and softmax are missing.",
)
def scores_without_mask(scores, head_size):
    return scores / head_size**0.5


@attention_weights.mistake(
    "Đây là điểm, chưa phải trọng số: thiếu softmax.", "These are scores, not weights: the softmax is missing."
)
def scores_with_mask(scores, head_size):
    return masked(scores / head_size**0.5)


@attention_weights.mistake("Bạn nhân với √head_size, cần chia.", "You multiplied by √head_size; divide.")
def multiplied_by_the_root(scores, head_size):
    return masked(scores * head_size**0.5).softmax(-1)


@attention_weights.mistake("Bạn quên chia cho √head_size.", "You forgot to divide by √head_size.")
def not_divided(scores, head_size):
    return masked(scores).softmax(-1)


@attention_weights.mistake(
    "Bạn chia cho head_size, cần chia cho căn bậc hai của nó.", "You divided by head_size; divide by its square root."
)
def divided_by_head_size(scores, head_size):
    return masked(scores / head_size).softmax(-1)


@attention_weights.mistake(
    "Bạn che sau softmax: tương lai đã lấy mất một phần của tổng, các hàng không còn tổng bằng 1.",
    "The mask comes after the softmax: the future has taken its share, and rows no longer sum to 1.",
)
def masked_after_the_softmax(scores, head_size):
    return (scores / head_size**0.5).softmax(-1) * attention.causal_mask(scores.shape[-1])


@attention_weights.mistake(
    "Bạn nhân với mặt nạ: điểm 0 vẫn nhận e^0 = 1. Tương lai cần −∞.",
    "You multiplied by the mask: a score of 0 still gets e^0 = 1. The future needs −∞.",
)
def multiplied_by_the_mask(scores, head_size):
    return (scores / head_size**0.5 * attention.causal_mask(scores.shape[-1])).softmax(-1)


@attention_weights.mistake(*UNSHIFTED)
def unshifted_softmax(scores, head_size):
    return _unshifted_softmax(masked(scores / head_size**0.5))


attention_output = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(5, 4) * 2, draw(5, 4) * 3 - 1, draw(5, 3)),
            (draw(8, 16), draw(8, 16), draw(8, 2)),
            (far_below(draw, 4, 4), -far_below(draw, 4, 4), draw(4, 2).double()),
        ]
    ),
    right=_attend,
    given=_masked_too_late,
    result="[T, d_v]",
)


@attention_output.mistake(
    "Không còn mặt nạ: các token nhìn thấy tương lai.", "Now there is no mask: tokens see the future."
)
def output_without_mask(q, k, v):
    return (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v


@attention_output.mistake(
    "Bạn nhân điểm với mặt nạ trước softmax: điểm 0 vẫn nhận e^0 = 1. Tương lai cần −∞.",
    "You multiply scores by the mask: before the softmax a 0 still gets e^0 = 1. The future needs −∞.",
)
def output_multiplied_by_the_mask(q, k, v):
    return (q @ k.T * attention.causal_mask(len(q)) / q.shape[-1] ** 0.5).softmax(-1) @ v


@attention_output.mistake(
    "Softmax chạy sai trục: hãy lấy theo khóa, dim=-1.", "The softmax runs over the wrong axis: over keys, dim=-1."
)
def output_of_softmax_over_queries(q, k, v):
    return masked(q @ k.T / q.shape[-1] ** 0.5).softmax(-2).nan_to_num(0) @ v


@attention_output.mistake("Bạn đã bỏ mất √d.", "You have lost the √d.")
def output_not_divided(q, k, v):
    return masked(q @ k.T).softmax(-1) @ v


@attention_output.mistake(*FINITE)
def output_of_finite_mask(q, k, v):
    return masked(q @ k.T / q.shape[-1] ** 0.5, -1e9).softmax(-1) @ v


@attention_output.mistake(*UNSHIFTED)
def output_of_unshifted_softmax(q, k, v):
    return _unshifted_softmax(masked(q @ k.T / q.shape[-1] ** 0.5)) @ v


future_leak = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(6, 6) * 8 - 3, 16, -2.0),
            (draw(9, 9) * 90 - 50, 64, -12.0),
            (draw(4, 4) * 8, 4, -3.0),
        ]
    ),
    right=_future_leak,
    result=("một con số", "one number"),
)


@future_leak.mistake("Bạn quên chia cho √head_size.", "You forgot to divide by √head_size.")
def leak_not_divided(scores, head_size, fill):
    return _future_leak(scores, 1, fill)


@future_leak.mistake(
    "Bạn chia cho head_size; cần chia cho căn bậc hai của nó.", "You divide by head_size; divide by its square root."
)
def leak_divided_by_head_size(scores, head_size, fill):
    return _future_leak(scores, head_size * head_size, fill)


@future_leak.mistake(
    "Bạn cộng fill trước khi chia: hãy chia trước, che sau.", "You add fill before dividing: divide first, then mask."
)
def filled_before_dividing(scores, head_size, fill):
    return _future_leak(scores, head_size, fill / head_size**0.5)


@future_leak.mistake(
    "Bạn thay điểm của tương lai bằng fill; ở đây fill được cộng vào điểm.",
    "You put fill in the place of the future's scores; here it is added to them.",
)
def fill_in_place_of_scores(scores, head_size, fill):
    return (
        (scores / head_size**0.5)
        .masked_fill(~attention.causal_mask(len(scores)), fill)
        .softmax(-1)[~attention.causal_mask(len(scores))]
        .max()
    )


@future_leak.mistake(
    "Đây là trọng số lớn nhất của cả bảng; hãy chỉ xét các ô tương lai.",
    "This is the largest weight of all; look at the future's entries alone.",
)
def largest_of_all(scores, head_size, fill):
    return (scores / head_size**0.5 + fill * ~attention.causal_mask(len(scores))).softmax(-1).max()


@future_leak.mistake("Đây là tổng; cần trọng số lớn nhất.", "This is the sum; the largest weight is wanted.")
def sum_of_the_future(scores, head_size, fill):
    return (
        (scores / head_size**0.5 + fill * ~attention.causal_mask(len(scores)))
        .softmax(-1)[~attention.causal_mask(len(scores))]
        .sum()
    )


@future_leak.mistake(
    "Bạn cộng fill vào quá khứ, hoặc trừ nó khỏi tương lai (softmax không phân biệt): xem lại dấu và mặt nạ.",
    "You add fill to the past, or subtract it from the future (one to the softmax): check sign and mask.",
)
def past_filled(scores, head_size, fill):
    return (
        (scores / head_size**0.5 + fill * attention.causal_mask(len(scores)))
        .softmax(-1)[~attention.causal_mask(len(scores))]
        .max()
    )
