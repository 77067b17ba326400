"""Lesson 03, heads, and what becomes of them."""

import torch

from aero_helpers import attention
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn, far_below, masked


def _head_weights(q, k, n_heads, scale=None):
    scores = attention.raw_scores(*(attention.split_heads(x, n_heads) for x in (q, k)))
    return masked(scores * (scale or (q.shape[-1] // n_heads) ** -0.5)).softmax(-1)


def _heads_by_reshape(x, n_heads):
    """[T, D] whose heads, once split, are what a bare reshape to [head, T, head_size] gives."""
    return attention.merge_heads(x.reshape(n_heads, len(x), -1))


def _without_head(contributions, bias, head):
    return contributions.sum(0) - contributions[head] + bias


def _largest(per_head):
    """(layer, head) of the largest entry of [layer, head]."""
    return divmod(int(per_head.argmax()), per_head.shape[1])


def _previous_token_head(weights):
    return _largest(weights.diagonal(-1, -2, -1).mean(-1))


def _looking_back(draw, n_layers, n_heads, n_tokens, place):
    """Weights in which one head looks at the token before more than the others do."""
    scores = draw(n_layers, n_heads, n_tokens, n_tokens)
    scores[place] += 3 * torch.eye(n_tokens).roll(-1, dims=1).tril(-1)
    return masked(scores).softmax(-1)


row_of_a_zero_query = Prediction(
    right=(0.2, 0.2, 0.2, 0.2, 0.2),
    why=(
        "Đúng: mọi điểm bằng 0, tức là bằng nhau, và e^0 = 1 cho mọi khóa: chú ý chia đều.",
        "Right: all scores are 0, so they are equal, and e^0 = 1 for every key: attention is uniform.",
    ),
    kind=("năm trọng số", "five weights"),
    mistakes=[
        ((0, 0, 0, 0, 0),
         "Điểm bằng 0 không phải là trọng số bằng 0: mỗi hàng phải có tổng bằng 1.",
         "A score of 0 is not a weight of 0: each row must sum to 1."),
        ((1, 0, 0, 0, 0),
         "Vì sao lại là khóa 0? Điểm của nó cũng bằng 0 như mọi khóa khác.",
         "Why key 0? Its score is 0 like that of all the others."),
        ((0, 0, 0, 0, 1),
         "Token nhìn chính nó cũng chỉ có điểm 0, như mọi khóa khác.",
         "Looking at itself has a score of 0 as well, like all other keys."),
        ((0.25, 0.25, 0.25, 0.25, 0),
         "Token cũng được nhìn chính nó: có năm khóa, không phải bốn.",
         "A token may look at itself: there are five keys, not four."),
        ((1, 1, 1, 1, 1),
         "Đó là e^0 của từng khóa; softmax còn chia cho tổng.",
         "That is e^0 for each key; the softmax also divides by the sum."),
    ],
)  # fmt: skip


split_heads = Exercise(
    inputs=drawn(lambda draw: [(draw(5, 12), 3), (draw(4, 32), 4), (draw(6, 8), 1)]),
    right=attention.split_heads,
    result="[head, T, head_size]",
)


@split_heads.mistake(
    "Đúng kích thước nhưng trộn lẫn các token: reshape hay view thành (head, T, ...) cắt theo thứ tự bộ nhớ. "
    "Cắt chiều cuối trước, rồi mới đổi chỗ hai chiều.",
    "The right shape, but tokens are mixed up: reshape or view to (head, T, ...) cuts in memory order. "
    "Cut the last dimension first, then swap two dimensions.",
)
def reshaped(x, n_heads):
    return x.reshape(n_heads, x.shape[0], x.shape[1] // n_heads)


@split_heads.mistake(
    "Bạn lấy xen kẽ từng cột. Mỗi đầu là một đoạn cột liền nhau.",
    "You took every n-th column. A head is a run of neighbouring columns.",
)
def every_nth_column(x, n_heads):
    return x.reshape(x.shape[0], x.shape[1] // n_heads, n_heads).permute(2, 0, 1)


def _divided_by_root_of_width(q, k, n_heads):
    return _head_weights(q, k, n_heads, q.shape[-1] ** (-0.5))


head_weights = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(5, 12) * 2, draw(5, 12) * 2, 3),
            (draw(6, 32), draw(6, 32) * 2, 4),
            (far_below(draw, 4, 8), -far_below(draw, 4, 8), 2),
        ]
    ),
    right=_head_weights,
    given=_divided_by_root_of_width,
    result="[head, T, T]",
)


@head_weights.mistake("Bạn đã bỏ hẳn phép chia.", "You have dropped the division altogether.")
def undivided(q, k, n_heads):
    return _head_weights(q, k, n_heads, 1.0)


@head_weights.mistake(
    "Bạn chia cho d của đầu; cần chia cho căn bậc hai của nó.", "You divide by the head's d; its square root is needed."
)
def divided_by_d(q, k, n_heads):
    return _head_weights(q, k, n_heads, n_heads / q.shape[-1])


@head_weights.mistake(
    "Bạn chia cho √(số lượng đầu). Cần √d, với d là số chiều của một truy vấn trong một đầu.",
    "You divide by √(number of heads). It takes √d, d being the number of dimensions of one query within a head.",
)
def divided_by_root_of_heads(q, k, n_heads):
    return _head_weights(q, k, n_heads, n_heads ** (-0.5))


@head_weights.mistake(
    "Bạn chia cho √T. Cần √d, với d là số chiều của một truy vấn trong một đầu.",
    "You divide by √T. It takes √d, d being the number of dimensions of one query within a head.",
)
def divided_by_root_of_length(q, k, n_heads):
    return _head_weights(q, k, n_heads, len(q) ** (-0.5))


@head_weights.mistake(
    "Bạn tách đầu bằng view hay reshape mà không đổi chỗ hai chiều: các token bị trộn lẫn.",
    "You split the heads by view or reshape without the swap: tokens are mixed up.",
)
def heads_reshaped(q, k, n_heads):
    return _head_weights(_heads_by_reshape(q, n_heads), _heads_by_reshape(k, n_heads), n_heads)


without_head = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(3, 4, 6), draw(6), 1),
            (draw(2, 5, 4), draw(4) * 3, 0),
            (draw(4, 3, 8), draw(8), 3),
        ]
    ),
    right=_without_head,
    result="[T, D]",
)


@without_head.mistake(
    "Bạn quên bias: tắt một đầu không tắt bias.", "You forgot the bias: switching a head off leaves the bias on."
)
def bias_forgotten(contributions, bias, head):
    return contributions.sum(0) - contributions[head]


@without_head.mistake(
    "Đây là đóng góp của RIÊNG đầu ấy (kèm bias); cần tổng của mọi đầu khác.",
    "This is the head ALONE; all the others are wanted.",
)
def head_alone_with_bias(contributions, bias, head):
    return contributions[head] + bias


@without_head.mistake(
    "Đây là đóng góp của đầu ấy; cần phần còn lại.", "This is that head's contribution; the rest is wanted."
)
def head_alone(contributions, bias, head):
    return contributions[head]


@without_head.mistake("Đầu ấy vẫn còn trong tổng.", "The head is still in the sum.")
def all_heads(contributions, bias, head):
    return contributions.sum(0) + bias


@without_head.mistake("Bạn trừ bias; đầu ra đầy đủ có CỘNG bias.", "You subtract the bias; the full output ADDS it.")
def bias_subtracted(contributions, bias, head):
    return contributions.sum(0) - contributions[head] - bias


@without_head.mistake(
    "Bạn bỏ cả một phần bias: bias không thuộc về đầu nào.", "You drop a part of the bias too: it belongs to no head."
)
def part_of_the_bias_dropped(contributions, bias, head):
    return contributions.sum(0) - contributions[head] + bias * (1 - 1 / len(contributions))


@without_head.mistake("Bạn luôn tắt đầu 0.", "You always switch head 0 off.")
def always_head_0(contributions, bias, head):
    return contributions.sum(0) + bias - contributions[0]


@without_head.mistake(
    "Bạn cộng bias một lần cho mỗi đầu; chỉ có một bias chung.", "You add the bias once a head; there is a single one."
)
def bias_once_a_head(contributions, bias, head):
    return contributions.sum(0) - contributions[head] + bias * (len(contributions) - 1)


@without_head.mistake("Bạn lấy trung bình; các đóng góp được cộng lại.", "You take a mean; contributions are added up.")
def mean_of_the_others(contributions, bias, head):
    return (contributions.sum(0) - contributions[head]) / (len(contributions) - 1) + bias


previous_token_head = Exercise(
    inputs=drawn(
        lambda draw: [
            (_looking_back(draw, 3, 4, 7, (2, 0)),),
            (_looking_back(draw, 2, 5, 5, (0, 3)),),
            (_looking_back(draw, 5, 3, 6, (4, 1)),),
            *((masked(draw(3, 4, n_tokens, n_tokens)).softmax(-1),) for n_tokens in range(4, 12)),
        ]
    ),
    right=_previous_token_head,
    result=("hai số (tầng, đầu)", "two numbers (layer, head)"),
)


@previous_token_head.mistake(
    "Hai số đúng, thứ tự chưa đúng: (tầng, đầu).", "The two numbers are right, their order is not: (layer, head)."
)
def head_then_layer(weights):
    return _previous_token_head(weights)[::-1]


@previous_token_head.mistake(
    "argmax đếm qua mọi tầng và mọi đầu liền một mạch: divmod(…, số lượng đầu) cho (tầng, đầu).",
    "argmax counts through all layers and heads in one go: divmod(…, number of heads) gives (layer, head).",
)
def flat_number(weights):
    return int(weights.diagonal(-1, -2, -1).mean(-1).argmax())


@previous_token_head.mistake(
    "Bạn lấy đường chéo chính: token nhìn chính nó.", "You took the main diagonal: a token looking at itself."
)
def looks_at_itself(weights):
    return _largest(weights.diagonal(0, -2, -1).mean(-1))


@previous_token_head.mistake(
    "Bạn lấy đường chéo phía trên: tương lai, luôn bằng 0.", "You took the diagonal above: the future, always 0."
)
def looks_at_the_future(weights):
    return _largest(weights.diagonal(1, -2, -1).mean(-1))


@previous_token_head.mistake(
    "Bạn lấy cột của khóa 0, không phải token liền trước.", "You took the column of key 0, not the token before."
)
def looks_at_key_0(weights):
    return _largest(weights[..., 1:, 0].mean(-1))


@previous_token_head.mistake(
    "Đây là đầu nhìn token liền trước ÍT nhất.", "This is the head that looks LEAST at the token before."
)
def looks_back_least(weights):
    return _largest(-weights.diagonal(-1, -2, -1).mean(-1))
