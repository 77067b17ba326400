"""Lesson 05, density curves."""

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.stats import gaussian_kde as scipy_kde

from aero_helpers import kde
from aero_helpers.checking import Exercise, Prediction


def _blurred(counts, width, h):
    return gaussian_filter1d(counts.astype(float), h / width) / (counts.sum() * width)


def _count_peaks(y):
    return int(((y[1:-1] > y[:-2]) & (y[1:-1] > y[2:])).sum())


def _bumps(*bumps):
    """A curve of bumps (place, width, height) on 200 points; one at −9 is highest at the curve's end."""
    x = np.linspace(-9, 9, 200)
    return sum(height * np.exp(-0.5 * ((x - place) / width) ** 2) for place, width, height in bumps)


peak_height = Prediction(
    right=0.5,
    why=(
        "Đúng: đồi rộng gấp đôi, diện tích vẫn bằng 1, nên chỉ cao một nửa.",
        "Right: the hill is twice as wide, its area is still 1, so it is half as high.",
    ),
    kind=("một con số", "a number"),
    mistakes=[
        (1, "Diện tích giữ nguyên, không phải chiều cao.", "It is the area that stays, not the height."),
        (2, "Rộng hơn thì thấp hơn: diện tích phải bằng 1.", "Wider means lower: the area must be 1."),
        (0.25,
         "Chỉ chiều ngang giãn ra; hãy nhìn h trong mẫu số của công thức.",
         "Only the width is stretched; look at the h in the formula's denominator."),
        (0.7071,
         "Không phải chia cho √2: trong hệ số 1 / (h √(2π)), h nằm ngoài dấu căn.",
         "Not by √2: in the factor 1 / (h √(2π)) h stands outside the root."),
    ],
)  # fmt: skip


gaussian_kde = Exercise(
    inputs=[
        (np.array([-2.0, 0.5, 1.0, 4.0]), np.linspace(-6, 8, 15), 0.7),
        (np.array([0.0, 0.6]), np.linspace(-3, 3, 7), 1.0),
    ],
    right=kde.gaussian_sum,
    result="[len(x)]",
)


@gaussian_kde.mistake(
    "Diện tích dưới đường cong là n, không phải 1: hãy chia cho số giá trị, `len(values)`.",
    "The area under the curve is n, not 1: divide by the number of values, `len(values)`.",
)
def area_of_n(values, x, h):
    return kde.gaussian_sum(values, x, h) * len(values)


@gaussian_kde.mistake(
    "Bạn chia cho len(x). Hãy chia cho số giá trị, len(values).",
    "You divided by len(x). Divide by the number of values, len(values).",
)
def divided_by_grid_size(values, x, h):
    return kde.gaussian_sum(values, x, h) * len(values) / len(x)


@gaussian_kde.mistake(
    "Với scipy, bw_method là một HỆ SỐ nhân với độ lệch chuẩn, không phải h.",
    "To scipy, bw_method is a FACTOR of the standard deviation, not h.",
)
def factor_of_scipy(values, x, h):
    return scipy_kde(values, bw_method=h)(x)


@gaussian_kde.mistake("φ còn thiếu 1/√(2π).", "φ lacks its 1/√(2π).")
def root_of_two_pi_missing(values, x, h):
    return kde.gaussian_sum(values, x, h) * np.sqrt(2 * np.pi)


@gaussian_kde.mistake("Cần √(2π), không phải 2π.", "It takes √(2π), not 2π.")
def divided_by_two_pi(values, x, h):
    return kde.gaussian_sum(values, x, h) / np.sqrt(2 * np.pi)


@gaussian_kde.mistake("Thiếu ½ trong số mũ: e^(−z²/2).", "The ½ in the exponent is missing: e^(−z²/2).")
def half_missing(values, x, h):
    return kde.gaussian_sum(values, x, h / np.sqrt(2)) / np.sqrt(2)


@gaussian_kde.mistake(
    "Bạn quên chia cho độ rộng nhân h: diện tích phải bằng 1.",
    "You forgot to divide by the bandwidth h: the area must be 1.",
)
def not_divided_by_h(values, x, h):
    return kde.gaussian_sum(values, x, h) * h


@gaussian_kde.mistake("Mỗi đường Gauss còn thiếu hệ số 1 / (h √(2π)).", "Each Gaussian lacks its factor 1 / (h √(2π)).")
def factor_missing(values, x, h):
    return kde.gaussian_sum(values, x, h) * h * np.sqrt(2 * np.pi)


@gaussian_kde.mistake(
    "Đã có tổng các đường Gauss, nhưng chưa chuẩn hóa: chia cho n · h · √(2π).",
    "The sum of Gaussians is there, not yet normalised: divide by n · h · √(2π).",
)
def sum_not_normalised(values, x, h):
    return kde.gaussian_sum(values, x, h) * h * np.sqrt(2 * np.pi) * len(values)


def _blurred_by_h_bins(counts, width, h):
    return gaussian_filter1d(counts.astype(float), h) / (counts.sum() * width)


blurred_histogram = Exercise(
    inputs=[
        (np.random.default_rng(0).multinomial(500, np.ones(80) / 80), 0.25, 1.5),
        (np.random.default_rng(1).multinomial(90, np.ones(60) / 60), 0.4, 1.3),
    ],
    right=_blurred,
    given=_blurred_by_h_bins,
    result="[bins]",
)


@blurred_histogram.mistake(
    "Bạn nhân với width. h đơn vị dài bằng mấy ô, nếu mỗi ô rộng width?",
    "You multiply by width. How many bins are h units, if each is width wide?",
)
def multiplied_by_width(counts, width, h):
    return gaussian_filter1d(counts.astype(float), h * width) / (counts.sum() * width)


@blurred_histogram.mistake(
    "Số đếm là số nguyên, và gaussian_filter1d trả về số nguyên theo: hãy giữ .astype(float).",
    "Counts are whole numbers, and gaussian_filter1d then returns whole numbers: keep the .astype(float).",
)
def whole_numbers_blurred(counts, width, h):
    return gaussian_filter1d(counts, h / width) / (counts.sum() * width)


@blurred_histogram.mistake(
    "Bạn bỏ mất width: diện tích phải bằng 1, không phải tổng.", "You lost width: the area must be 1, not the sum."
)
def width_lost(counts, width, h):
    return gaussian_filter1d(counts.astype(float), h / width) / counts.sum()


@blurred_histogram.mistake("Bạn bỏ mất phép chia: đây vẫn là số đếm.", "You lost the division: these are still counts.")
def still_counts(counts, width, h):
    return gaussian_filter1d(counts.astype(float), h / width)


count_peaks = Exercise(
    inputs=[
        (_bumps((-6, 1, 1), (0, 0.4, 0.05), (4, 2, 0.3)),),
        (_bumps((-9, 1, 2), (1, 1, 0.2)),),
        (np.maximum(_bumps((2, 1, 1)) - 0.1, 0),),  # level on both sides
    ],
    right=_count_peaks,
    result=("một con số", "one number"),
)


@count_peaks.mistake("Bạn đếm các thung lũng.", "You counted the valleys.")
def valleys(y):
    return _count_peaks(-y)


@count_peaks.mistake("Bạn đếm cả thung lũng: đó là mọi chỗ đổi chiều.", "You counted valleys too: those are all turns.")
def all_turns(y):
    return _count_peaks(y) + _count_peaks(-y)


@count_peaks.mistake(
    "Đây là vị trí của đỉnh cao nhất; cần số đỉnh.", "This is where the highest peak lies; their number is wanted."
)
def place_of_the_highest(y):
    return int(y.argmax())


@count_peaks.mistake("Đây là True/False cho từng điểm; hãy đếm.", "These are True/False a point; count them.")
def true_at_each_peak(y):
    return (y[1:-1] > y[:-2]) & (y[1:-1] > y[2:])


@count_peaks.mistake(
    "Bạn đếm các điểm đang đi lên; đỉnh cao hơn cả hai bên.",
    "You counted the points on the way up; a peak is above both its neighbours.",
)
def points_on_the_way_up(y):
    return int((y[1:] > y[:-1]).sum())
