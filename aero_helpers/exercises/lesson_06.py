"""Lesson 06, statistics over the layers."""

import numpy as np
import torch
from scipy.stats import norm, ttest_ind, ttest_rel

from aero_helpers import kde, matrices
from aero_helpers.checking import Exercise, Prediction
from aero_helpers.exercises.inputs import drawn


def _reflected(values, x, h):
    return sum(kde.gaussian_sum(images, x, h) for images in (values, -values, 2 - values))


def _folded(weight, bias, scale, shift):
    return scale[:, None] * weight, bias + shift @ weight


def _folded_twice(weight, bias, scale, shift):
    return scale[:, None] * weight, bias + shift @ (scale[:, None] * weight)


def _holm(a, b):
    """How many heads differ in a paired t test under Holm's correction (Holm 1979); a and b are [text, head]."""
    p = np.sort(ttest_rel(a, b).pvalue)
    passes = p <= 0.05 / np.arange(len(p), 0, -1)
    return int(passes.cumprod().sum())


def _holm_unpaired(a, b):
    p = np.sort(ttest_ind(a, b).pvalue)
    passes = p <= 0.05 / np.arange(len(p), 0, -1)
    return int(passes.cumprod().sum())


def _two_corpora(seed, n_heads=12, n_texts=10):
    """A statistic of two corpora of the same texts, [text, head] each: texts differ, heads move by 0 to far."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n_texts, 1)) + rng.normal(scale=0.3, size=(n_texts, n_heads))
    return a, a + np.linspace(0, 0.5, n_heads) * rng.choice([-1, 1], n_heads) + rng.normal(scale=0.3, size=a.shape)


layer_norm_factors = Prediction(
    right=(0.5, 1, 1),
    why=(
        "Đúng: chuẩn trong tệp chỉ còn một nửa, nhưng γ bù lại: đã gộp thì không có gì đổi, mô hình cũng vậy.",
        "Right: the file shows a half, γ makes up for it, so once folded nothing has changed, nor has the model.",
    ),
    kind=("ba hệ số (‖W_Q‖ trong tệp, ‖W_Q‖ đã gộp, q)", "three factors (‖W_Q‖ as stored, ‖W_Q‖ folded, q)"),
    mistakes=[
        ((0.5, 0.5, 0.5),
         "Bạn quên γ: q = (x̂ ⊙ γ + β) W, và γ, β lớn gấp đôi.",
         "You forgot γ: q = (x̂ ⊙ γ + β) W, and γ, β are twice as large."),
        ((0.5, 0.5, 1),
         "q thì đúng. Gộp là nhân các hàng của W với γ: cả hai đều đổi.",
         "q is right. Folding multiplies W's rows by γ: both have changed."),
        ((0.5, 1, 2), "q dùng cả γ và W: gấp đôi nhân với một nửa.", "q uses both γ and W: twice times a half."),
        ((0.5, 2, 1), "Gộp là nhân W (còn một nửa) với γ (đã gấp đôi).",
         "Folding multiplies W (a half) by γ (twice)."),
        ((1, 1, 1), "Tệp lưu W_Q riêng, chưa có γ trong đó.", "The file stores W_Q by itself, without γ in it."),
    ],
)  # fmt: skip


singular_values = Exercise(
    inputs=drawn(lambda draw: [(draw(12, 3), draw(3, 12).T), (draw(20, 4), draw(4, 20).T - 1), (draw(5, 1),) * 2]),
    right=matrices.singular_values,
    result="[head_size]",
)


@singular_values.mistake(
    "Các con số đúng, nhưng có tới D số: hạng của W_Q W_Kᵀ không quá head_size, phần còn lại là sai số "
    "làm tròn. Hãy giữ head_size giá trị đầu tiên.",
    "The numbers are right, but D of them: the rank of W_Q W_Kᵀ is head_size at most, the rest is rounding. "
    "Keep the first head_size.",
)
def values_of_the_whole_space(w_q, w_k):
    return torch.linalg.svdvals(w_q @ w_k.T)


@singular_values.mistake(
    "Đây là trị riêng. W_Q W_Kᵀ không đối xứng, nên trị riêng và giá trị kỳ dị là hai thứ khác nhau.",
    "These are eigenvalues. W_Q W_Kᵀ is not symmetric, so they are not its singular values.",
)
def eigenvalues(w_q, w_k):
    return torch.linalg.eigvals(w_q @ w_k.T).abs().sort(descending=True).values


@singular_values.mistake(
    "Đây là W_Qᵀ W_K, [head_size, head_size]: tích khác, giá trị kỳ dị khác.",
    "This is W_Qᵀ W_K, [head_size, head_size]: another product, with other singular values.",
)
def of_another_product(w_q, w_k):
    return torch.linalg.svdvals(w_q.T @ w_k)


@singular_values.mistake(
    "Bạn nhân giá trị kỳ dị của hai ma trận. Chỉ đúng khi các hướng của chúng trùng nhau.",
    "You multiplied the singular values of the two matrices. That holds only where their directions agree.",
)
def products_of_singular_values(w_q, w_k):
    return torch.linalg.svdvals(w_q) * torch.linalg.svdvals(w_k)


@singular_values.mistake(
    "Đây là bình phương của giá trị kỳ dị (trị riêng của M Mᵀ): hãy lấy căn.",
    "These are squares of the singular values (eigenvalues of M Mᵀ): take the root.",
)
def squares(w_q, w_k):
    return matrices.singular_values(w_q, w_k) ** 2


@singular_values.mistake("Thứ tự bị đảo: số lớn nhất đứng đầu.", "The order is reversed: the largest comes first.")
def smallest_first(w_q, w_k):
    return matrices.singular_values(w_q, w_k).flip(-1)


reflected_kde = Exercise(
    inputs=[
        (np.array([0.02, 0.1, 0.35, 0.97]), np.linspace(0, 1, 11), 0.1),
        (np.array([0.5, 0.0]), np.linspace(0, 1, 6), 0.15),
    ],
    right=_reflected,
    result="[len(x)]",
)


@reflected_kde.mistake(
    "Chưa phản xạ: phần tràn ra ngoài [0, 1] bị mất.", "Nothing is reflected yet: what spills out of [0, 1] is lost."
)
def not_reflected(values, x, h):
    return kde.gaussian_sum(values, x, h)


@reflected_kde.mistake(
    "Bạn lấy trung bình trên 3n giá trị. Ảnh đối xứng không phải dữ liệu mới: hãy chia cho n.",
    "You took the mean over 3n values. Mirror images are no new data: divide by n.",
)
def mean_over_images(values, x, h):
    return _reflected(values, x, h) / 3


@reflected_kde.mistake(
    "Mới phản xạ qua 0, còn thiếu biên 1: ảnh của v qua 1 là 2 − v.",
    "Reflected at 0 only; the bound 1 is missing: the image of v in 1 is 2 − v.",
)
def reflected_at_0_alone(values, x, h):
    return kde.gaussian_sum(values, x, h) + kde.gaussian_sum(-values, x, h)


@reflected_kde.mistake(
    "Mới phản xạ qua 1, còn thiếu biên 0: ảnh của v qua 0 là −v.",
    "Reflected at 1 only; the bound 0 is missing: the image of v in 0 is −v.",
)
def reflected_at_1_alone(values, x, h):
    return kde.gaussian_sum(values, x, h) + kde.gaussian_sum(2 - values, x, h)


@reflected_kde.mistake("Ảnh của v qua 1 là 2 − v, không phải 1 − v.", "The image of v in 1 is 2 − v, not 1 − v.")
def image_at_the_wrong_place(values, x, h):
    return sum(kde.gaussian_sum(images, x, h) for images in (values, -values, 1 - values))


@reflected_kde.mistake(
    "Bạn chia cho diện tích còn lại. Diện tích thành 1, nhưng mật độ ở hai biên vẫn bị hạ thấp: hãy phản xạ.",
    "You divided by the area that is left. The area becomes 1, but the ends stay too low: reflect.",
)
def rescaled(values, x, h):
    return kde.gaussian_sum(values, x, h) / (norm.cdf(1, values, h) - norm.cdf(0, values, h)).mean()


folded = Exercise(
    inputs=drawn(
        lambda draw: [
            (draw(6, 3), draw(3), draw(6) + 2, draw(6)),
            (draw(4, 4), draw(4), draw(4) * 2, draw(4)),
        ]
    ),
    right=_folded,
    given=_folded_twice,
    result="(W, b), [D, d] + [d]",
)


@folded.mistake("β cũng đi qua W: nó thêm β W vào bias.", "β passes through W too: it adds β W to the bias.")
def shift_forgotten(weight, bias, scale, shift):
    return (scale[:, None] * weight, bias)


@folded.mistake("γ chưa được gộp vào W.", "γ is not folded into W.")
def scale_forgotten(weight, bias, scale, shift):
    return (weight, bias + shift @ weight)


@folded.mistake(
    "Phải nhân γ vào các HÀNG của W (mỗi hàng ứng với một chiều đầu vào); bạn lại nhân vào các cột.",
    "γ multiplies the ROWS of W (a row is a dimension that goes in); you multiply the columns.",
)
def columns_scaled(weight, bias, scale, shift):
    return (weight * scale if weight.shape[1] == len(scale) else scale[:, None] * weight, bias + shift @ weight)


@folded.mistake(
    "Đừng chia β cho γ: trong x = x̂ ⊙ γ + β, β đứng riêng.",
    "β is not divided by γ: x = x̂ ⊙ γ + β, and β stands by itself.",
)
def shift_divided(weight, bias, scale, shift):
    return (scale[:, None] * weight, bias + shift / scale @ weight)


heads_apart = Exercise(
    inputs=[_two_corpora(454), _two_corpora(2), _two_corpora(1, n_heads=20, n_texts=16)],
    right=_holm,
    result=("một con số", "one number"),
)


@heads_apart.mistake(
    "Bạn chưa hiệu chỉnh: trong 20 đầu không khác nhau, chừng một đầu dưới 0,05 là do may. Dùng cách Holm.",
    "You have not corrected: of 20 heads that do not differ, one falls below 0.05 by luck. Use Holm's rule.",
)
def uncorrected(a, b):
    return int((ttest_rel(a, b).pvalue < 0.05).sum())


@heads_apart.mistake(
    "Đây là hiệu chỉnh Bonferroni: đúng nhưng quá chặt. Holm: sau mỗi đầu đạt, số chia giảm đi 1.",
    "This is Bonferroni's rule: valid, but too strict. Holm's divides by one less after each that passes.",
)
def bonferroni(a, b):
    return int((ttest_rel(a, b).pvalue < 0.05 / a.shape[1]).sum())


@heads_apart.mistake(
    "Bạn đếm cả những giá trị p đạt ngưỡng sau một giá trị không đạt: hãy dừng ở giá trị đầu tiên không đạt.",
    "You also count p values that pass after one that failed: stop at the first that fails.",
)
def past_the_first_failure(a, b):
    return int((np.sort(ttest_rel(a, b).pvalue) <= 0.05 / np.arange(a.shape[1], 0, -1)).sum())


@heads_apart.mistake(
    "Bạn dùng phép thử cho hai mẫu độc lập; ở đây hai mẫu gồm cùng những văn bản: ttest_rel.",
    "You used the test for independent samples; here the same texts stand in both: ttest_rel.",
)
def unpaired(a, b):
    return _holm_unpaired(a, b)


@heads_apart.mistake("Đây là số lượng đầu KHÔNG khác.", "This is the number of heads that do NOT differ.")
def heads_not_apart(a, b):
    return a.shape[1] - _holm(a, b)


@heads_apart.mistake("Đây là tỉ lệ; cần số lượng đầu.", "This is the share; the number of heads is wanted.")
def share_of_heads(a, b):
    return _holm(a, b) / a.shape[1]
