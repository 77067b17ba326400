"""Lesson 02, Q, K and V out of c_attn."""

import torch

from aero_helpers import attention
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn


def _first_head_scores(activation, head_size):
    q, k, _ = attention.split_qkv(activation)
    return q[:, :head_size] @ k[:, :head_size].T


def _qkv_from_weights(x, weight, bias):
    return attention.split_qkv(x @ weight + bias)


activation_shape = Prediction(
    right=(2, 5, 2304),
    why=(
        "Đúng: hai văn bản, mỗi văn bản năm token, mỗi token một hàng 3 × 768.",
        "Right: two texts of five tokens, and for each token a row of 3 × 768.",
    ),
    kind=("ba số [batch, T, …]", "three numbers [batch, T, …]"),
    mistakes=[
        ((768, 2304),
         "Đó là kích thước của trọng số; nó không biết văn bản dài bao nhiêu.",
         "That is the size of the weight, which knows nothing of the texts."),
        ((2, 5, 768),
         "Đó mới là một trong ba phần. c_attn dán cả ba lại.",
         "That is one of the three parts. c_attn glues all three together."),
        ((10, 2304),
         "Hai văn bản không bị nối lại: batch là một chiều riêng.",
         "The two texts are not joined: the batch is a dimension of its own."),
        ((5, 2304), "Bạn quên chiều batch.", "You forgot the batch dimension."),
        ((2, 5, 3, 768),
         "Hook thấy ba phần dán liền, chưa cắt.", "The hook sees the three parts glued together, not yet cut."),
        ((2, 12, 5, 192),
         "c_attn chưa biết gì về các đầu; bài 03 mới tách.",
         "c_attn knows nothing of heads yet; lesson 03 splits them."),
    ],
)  # fmt: skip


split_qkv = Exercise(
    inputs=drawn(lambda draw: [(draw(4, 12),), (draw(2, 5, 24),)]),
    right=attention.split_qkv,
    result="(q, k, v), [..., T, D] × 3",
)


@split_qkv.mistake(
    "Bạn lấy xen kẽ từng cột. GPT-2 xếp trọn Q, rồi trọn K, rồi trọn V.",
    "You took every third column. GPT-2 puts all of Q first, then all of K, then all of V.",
)
def every_third_column(activation):
    return (activation[..., 0::3], activation[..., 1::3], activation[..., 2::3])


@split_qkv.mistake("Thứ tự bị đảo ngược: GPT-2 xếp Q, K, V.", "The order is reversed: GPT-2 has Q, K, V.")
def reversed_order(activation):
    return attention.split_qkv(activation)[::-1]


@split_qkv.mistake("Q thì đúng; K đứng trước V.", "Q is right; K comes before V.")
def v_before_k(activation):
    return tuple(attention.split_qkv(activation)[i] for i in (0, 2, 1))


@split_qkv.mistake("Ba mảnh đúng, thứ tự chưa đúng: Q, K, V.", "The three pieces are right, the order is not: Q, K, V.")
def k_before_q(activation):
    return tuple(attention.split_qkv(activation)[i] for i in (1, 0, 2))


def _transposed_scores(activation, head_size):
    return _first_head_scores(activation, head_size).T


first_head_scores = Exercise(
    inputs=drawn(lambda draw: [(draw(5, 24), 4), (draw(7, 36), 3), (draw(3, 12), 4)]),
    right=_first_head_scores,
    given=_transposed_scores,
    result="[T, T]",
)


@first_head_scores.mistake(
    "Bạn lấy k ngay sau head_size cột của q: ở đó vẫn là q, của đầu 1.",
    "You take k right after head_size columns of q: what lies there is still q, of head 1.",
)
def k_right_after_q(activation, head_size):
    return activation[:, :head_size] @ activation[:, head_size : 2 * head_size].T


@first_head_scores.mistake(
    "Bạn nhân cả bề rộng D: đó là tổng điểm của mọi đầu. Đầu 0 chỉ có head_size cột đầu tiên.",
    "You multiply the whole width D: the sum over all heads. Head 0 has the first head_size columns only.",
)
def scores_of_the_whole_width(activation, head_size):
    return attention.split_qkv(activation)[0] @ attention.split_qkv(activation)[1].T


@first_head_scores.mistake(
    "Bạn đã chia cho √d; điểm thô thì không chia.", "You divided by √d; raw scores are not divided."
)
def scores_divided(activation, head_size):
    return _first_head_scores(activation, head_size) / head_size**0.5


@first_head_scores.mistake("Bạn nhân q với v. Thứ tự là Q, K, V.", "You multiply q with v. The order is Q, K, V.")
def q_with_v(activation, head_size):
    return attention.split_qkv(activation)[0][:, :head_size] @ attention.split_qkv(activation)[2][:, :head_size].T


@first_head_scores.mistake("Bạn nhân q với chính q.", "You multiply q with itself.")
def q_with_itself(activation, head_size):
    return attention.split_qkv(activation)[0][:, :head_size] @ attention.split_qkv(activation)[0][:, :head_size].T


def _conv1d(x, weight, bias):
    return x @ weight + bias


def _linear(x, weight, bias):
    return torch.nn.functional.linear(x, weight, bias)


conv1d = Exercise(
    inputs=drawn(lambda draw: [(draw(5, 6), draw(6, 6), draw(6)), (draw(4, 3), draw(3, 3) + 1, draw(3))]),
    right=_conv1d,
    given=_linear,
    result="[T, D]",
)


@conv1d.mistake("Thiếu bias.", "The bias is missing.")
def without_bias(x, weight, bias):
    return x @ weight


@conv1d.mistake(
    "Vẫn chuyển vị, và thiếu bias. Conv1D tính x W + b.",
    "Still transposed, and the bias is missing. Conv1D computes x W + b.",
)
def still_transposed(x, weight, bias):
    return x @ weight.T


qkv_from_weights = Exercise(
    inputs=drawn(lambda draw: [(draw(5, 4), draw(4, 12), draw(12)), (draw(3, 6), draw(6, 18), draw(18) * 3)]),
    right=_qkv_from_weights,
    result="(q, k, v), [T, D] × 3",
)


@qkv_from_weights.mistake("Thiếu bias: c_attn tính x W + b.", "The bias is missing: c_attn computes x W + b.")
def weights_without_bias(x, weight, bias):
    return attention.split_qkv(x @ weight)


@qkv_from_weights.mistake("Phép nhân đúng rồi; hãy cắt kết quả làm ba.", "The product is right; cut it in three.")
def not_cut(x, weight, bias):
    return x @ weight + bias


@qkv_from_weights.mistake(
    "Mỗi phần có bias của riêng nó: b cũng dài 3D.", "Each part has a bias of its own: b has 3D numbers too."
)
def one_bias_for_all_three(x, weight, bias):
    return tuple(x @ part + bias[: len(weight)] for part in weight.chunk(3, dim=1))


@qkv_from_weights.mistake(
    "Ba mảnh đúng, thứ tự chưa đúng: Q, K, V.", "The three pieces are right, the order is not: Q, K, V."
)
def projected_k_before_q(x, weight, bias):
    return tuple(_qkv_from_weights(x, weight, bias)[i] for i in (1, 0, 2))


@qkv_from_weights.mistake("Thứ tự bị đảo ngược: Q, K, V.", "The order is reversed: Q, K, V.")
def projected_in_reverse(x, weight, bias):
    return _qkv_from_weights(x, weight, bias)[::-1]


@qkv_from_weights.mistake(
    "Bạn lấy xen kẽ từng cột: cần ba đoạn liền nhau.",
    "You took every third column: three runs of neighbouring columns are needed.",
)
def columns_interleaved(x, weight, bias):
    return tuple((x @ weight + bias)[:, i::3] for i in range(3))
