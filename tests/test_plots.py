import re
import unicodedata
import warnings

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from nbclient import NotebookClient
from scipy.stats import gaussian_kde, norm, ttest_1samp

import aero_helpers as aero
from aero_helpers import plots


@pytest.fixture(autouse=True)
def closed():
    aero.set_language("both")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def vietnamese(mini):
    return mini.record("Ông già nhìn ra biển.\n")


def draw(figure):
    """Draw for real: a missing glyph or a layout that does not fit is a warning, and so an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # matplotlib's use of its own libraries
        figure.canvas.draw()


def test_attention_map_shows_the_past_and_hides_the_future(record):
    ax = plots.attention_map(record.head_weights(2, 1), record.tokens, title="t")
    shown = ax.images[0].get_array()
    assert np.array_equal(~np.ma.getmaskarray(shown), aero.causal_mask(record.n_tokens).numpy())
    assert np.allclose(shown.compressed(), record.head_weights(2, 1)[aero.causal_mask(record.n_tokens)])
    assert [label.get_text() for label in ax.get_yticklabels()][:3] == ["The", "old", "man"]
    draw(ax.figure)


def test_vietnamese_tokens_and_line_ends_are_drawn(vietnamese):
    ax = plots.attention_map(vietnamese.head_scores(0, 0), vietnamese.tokens, kind="scores")
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert "⏎" in labels and "Ô₁" in labels
    assert ax.images[0].norm.vmin == -ax.images[0].norm.vmax
    draw(ax.figure)


def test_head_maps_draw_each_head_once(record):
    figure = plots.head_maps(record, layer=3)
    titles = [ax.get_title() for ax in figure.axes if ax.get_visible() and ax.get_title()]
    assert titles == [f"đầu 3.{head} / head 3.{head}" for head in range(4)]
    for head, ax in enumerate(figure.axes[: record.n_heads]):
        past = aero.causal_mask(record.n_tokens)
        assert np.allclose(ax.images[0].get_array().compressed(), record.head_weights(3, head)[past])
    draw(figure)
    with pytest.raises(IndexError, match="layer: expected 0 to 5"):
        plots.head_maps(record, layer=6)


def test_layer_head_map_shows_the_table(record):
    table = aero.shift_table(record)
    ax = plots.layer_head_map(table, "share_below_zero")
    assert np.allclose(ax.collections[0].get_array().ravel(), table.share_below_zero)
    draw(ax.figure)
    assert np.allclose(plots.layer_head_map(table, "entropy").collections[0].get_array().ravel(), table.entropy)
    with pytest.raises(ValueError, match="column: expected one of share_below_zero"):
        plots.layer_head_map(table, "beauty")


def test_trained_and_untrained_keep_their_colours_and_shares(record, mini):
    null = mini.untrained().record("the old man and the sea")
    figure = plots.score_densities(record, null, "without_key_0")
    for ax, shown, colour in zip(figure.axes, (null, record), (plots.UNTRAINED, plots.TRAINED)):
        scores = shown.raw_scores[..., aero.select_entries(shown.n_tokens, "without_key_0")]
        x, y = ax.lines[0].get_data()
        assert np.trapezoid(x * y, x) == pytest.approx(scores.mean().item(), abs=1e-2 * scores.std().item())
        assert to_hex(ax.lines[0].get_color()).upper() == colour.upper()
        assert f"{(scores < 0).float().mean():.0%} below 0" in ax.get_title()
    draw(figure)


def test_ridges_have_two_curves_a_layer_that_stay_in_their_row(record):
    ax = plots.layer_ridges([record, record])
    curves = [line for line in ax.lines if len(line.get_xdata()) > 2]
    assert [to_hex(line.get_color()).upper() for line in curves] == [plots.OTHER_KEYS, plots.KEY_0] * record.n_layers
    for i, line in enumerate(curves):
        assert i // 2 - 1 < line.get_ydata().min() and line.get_ydata().max() <= i // 2
        entries = ("without_key_0", "key_0")[i % 2]
        heads = record.raw_scores[i // 2][:, aero.select_entries(record.n_tokens, entries)].numpy()
        x = line.get_xdata()
        assert (x[0], x[-1]) == (heads.min(), heads.max())  # nothing is drawn where no score lies
        expected = np.mean([gaussian_kde(np.tile(head, 2))(x) for head in heads], axis=0)
        assert np.allclose(i // 2 - line.get_ydata(), 0.85 * expected / expected.max(), atol=2e-2)
    draw(ax.figure)


def test_sparsity_plot_names_its_correlations(record):
    table = aero.shift_table(record)
    figure = plots.what_goes_with_sparsity(table)
    columns = ("share_below_zero", "row_spread", "sink_gap")
    expected = [table[column].corr(table.entropy, method="spearman") for column in columns]
    assert [ax.get_title() for ax in figure.axes] == [f"ρ = {rho:+.2f}".replace("-", "−") for rho in expected]
    assert np.allclose(figure.axes[1].collections[0].get_offsets(), table[["row_spread", "entropy"]])
    for label in figure.axes[1].texts:
        layer, head = map(int, label.get_text().split("."))
        assert np.allclose(label.xy, table.query(f"layer == {layer} and head == {head}")[["row_spread", "entropy"]])
    assert 5 < len(figure.axes[1].texts) <= plots.MOST_LABELS
    draw(figure)


def test_medians_are_blue_below_zero_and_red_above(record):
    table = aero.shift_table(record)
    mesh = plots.layer_head_map(table, "median").collections[0]
    assert mesh.norm.vmin == -mesh.norm.vmax == -table["median"].abs().max()
    low, high = mesh.cmap(0.0), mesh.cmap(1.0)
    assert low[2] > low[0] and high[0] > high[2]


def test_link_scatter_shows_each_head_once_and_names_the_best(mini):
    scenes = aero.read_scenes()[:4]
    shares = aero.link_shares(aero.link_table([mini.record(scene.text) for scene in scenes], scenes))
    figure = plots.link_scatter(shares)
    kinds = ["determiner–noun", "adjective–noun", "verb–object", "pronoun–antecedent"]
    assert [ax.get_title().split("\n")[1] for ax in figure.axes] == kinds
    for ax, kind in zip(figure.axes, kinds):
        expected = shares[shares.kind == kind][["expected_share", "share"]]
        assert np.allclose(ax.collections[0].get_offsets(), expected)
    assert figure.axes[0].texts[0].get_text() == "3.3"
    draw(figure)


def test_tokens_are_shown_as_they_are_and_never_read_as_formulas():
    tokens = ["$$", "$a_b$", "\t", "x" * 300, " "]
    record = aero.AttentionRecord(tokens, np.zeros((1, 2, 5, 5)), 8, "$\\m$")
    ax = plots.attention_map(record.head_weights(0, 0), record.tokens, title="$$")
    draw(ax.figure)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["$$", "$a_b$", "□", "x" * 15 + "…", "␣"]
    draw(plots.head_maps(record, 0))


def test_labels_follow_the_language(record):
    aero.set_language("vi")
    assert plots.layer_ridges(record).get_xlabel() == "điểm thô q·k"
    aero.set_language("en")
    assert plots.layer_ridges(record).get_xlabel() == "raw score q·k"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda r: plots.attention_map(r.weights(), r.tokens), "matrix: expected"),
        (
            lambda r: plots.attention_map(r.head_weights(0, 0), r.tokens, kind="raw"),
            "kind: expected one of weights, scores",
        ),
        (lambda r: plots.attention_map(r.head_scores(2, 1), r.tokens), 'weights, 0 to 1; kind="scores" draws raw'),
        (lambda r: plots.attention_map(r.head_scores(2, 1) * np.nan, r.tokens, "scores"), "expected finite scores"),
        (lambda r: plots.head_maps(r, 0, "raw"), "kind: expected one of weights, scores"),
        (lambda r: plots.against_entropy(aero.shift_table(r), "n_scores"), "column: expected one of"),
        (lambda r: plots.layer_ridges([]), "records: expected at least one AttentionRecord"),
        (lambda r: plots.layer_ridges(aero.AttentionRecord(["a"], np.ones((1, 1, 1, 1)), 8, "m")), "3 tokens or more"),
        (lambda r: plots.layer_head_map(aero.shift_table(r).astype({"layer": "Int64"})), "ints in 'layer', got Int64"),
        (lambda r: plots.against_entropy(aero.shift_table(r).astype({"median": "Float64"}), "median"), "got Float64"),
        (
            lambda r: plots.laminar_profile(aero.shift_table(r).astype({"layer": "category"}), "median"),
            r'got category; .astype\({"layer": int}\) makes them',
        ),
        (lambda r: plots.laminar_profile(aero.shift_table(r).astype({"median": object}), "median"), "got object"),
        (
            lambda r: aero.mean_over_texts(
                aero.shift_tables([r]).astype({"layer": float}).replace({"layer": {0: None}})
            ),
            "ints in 'layer', got",
        ),
        (lambda r: plots.layer_head_map(pd.concat([aero.shift_table(r)] * 2, axis=1)), "expected each column once"),
    ],
)
def test_bad_input_is_named(record, call, words):
    plt.close("all")
    with pytest.raises(ValueError, match=words):
        call(record)
    assert plt.get_fignums() == []  # no empty figure is left behind


def test_laminar_profile_shows_every_head_and_the_interval_of_the_mean(record, mini):
    table, null = aero.shift_table(record), aero.shift_table(mini.untrained().record("The old man ran."))
    figure = plots.laminar_profile(table, ["row_spread"], null)
    ax = figure.axes[0]
    dots = ax.collections[2].get_offsets()  # after the dots and bars of the null model
    assert np.allclose(dots, table[["row_spread", "layer"]]) and ax.get_ylim() == (5.5, -0.5)
    bars = ax.containers[1].lines[2][0].get_segments()
    heads = table[table.layer == 2].row_spread
    assert np.allclose(bars[2][:, 0], ttest_1samp(heads, 0).confidence_interval())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "chưa huấn luyện / untrained",
        "đã huấn luyện / trained",
    ]
    draw(figure)
    one_head = plots.laminar_profile(table[table["head"] == 0], ["entropy"])
    draw(one_head)  # one head has no interval
    lower = plots.laminar_profile(table[table.layer > 2], "entropy")
    assert lower.axes[0].get_ylim() == (5.5, 2.5)
    with pytest.raises(ValueError, match=r"expected the columns layer, head, norm_w_q"):
        plots.laminar_profile(table, ["norm_w_q"])
    with pytest.raises(ValueError, match=r"columns: expected one of share_below_zero, .*, got 'nothing'"):
        plots.laminar_profile(table, ["nothing"])


def test_laminar_profile_of_matrices_has_a_title_for_each_column(mini):
    table = aero.matrix_table(mini.head_matrices())
    columns = [column for column in table if column not in ("layer", "head")]
    figure = plots.laminar_profile(table, columns)
    assert all(ax.get_title() for ax in figure.axes)
    draw(figure)


def test_density_map_is_the_mean_of_the_heads_densities():
    rng = np.random.default_rng(0)
    heads = [[aero.density(rng.normal(layer, 1, 500), 0.3) for _ in range(3)] for layer in range(4)]
    ax = plots.density_map(heads, -5, 9, "x")
    shown = np.asarray(ax.images[0].get_array())
    x = (np.arange(400) + 0.5) / 400 * 14 - 5
    expected = np.mean([np.interp(x, head.x, head.y) for head in heads[2]], axis=0)
    assert shown.shape == (4, 400) and np.allclose(shown[2], expected, atol=2e-4)
    with pytest.raises(ValueError, match="expected densities that lie between 50 and 60, got none"):
        plots.density_map(heads, 50, 60, "x")
    with pytest.raises(ValueError, match="low and high: expected low < high, got 9 and -5"):
        plots.density_map(heads, 9, -5, "x")
    assert ax.images[0].norm.vmax == shown.max() and ax.get_ylim() == (3.5, -0.5)
    draw(ax.figure)


def parts_figure(shares):
    """score_parts of one layer with the given shares, and the places of its three bars."""
    level, position, content = shares
    columns = {"layer": [0], "head": [0], "level": [level], "position": [position], "content": [content]}
    figure = plots.score_parts(pd.DataFrame(columns | {"mean_square": [1.0]}), torch.zeros(1, 1, 4, 4))
    return [(round(bar.get_x(), 3), round(bar.get_width(), 3)) for bar in figure.axes[0].patches]


@pytest.mark.parametrize("width", [0.001, 0.05, 20])
def test_no_head_is_too_narrow_for_a_density_map(width):
    x = np.linspace(-4, 4, 200)
    curve = aero.Density(0.5 + width * x, norm.pdf(x) / width, width)
    drawn = plots.density_map([[curve]], -100, 100, "x").images[0].get_array()[0]
    assert drawn.sum() * 200 / 400 == pytest.approx(1, abs=1e-3)
    plt.close("all")


def test_parts_are_stacked_and_a_negative_one_stands_left_of_zero():
    assert parts_figure((0.5, 0.3, 0.2)) == [(0, 0.5), (0.5, 0.3), (0.8, 0.2)]
    assert parts_figure((0.8, -0.2, 0.4)) == [(0, 0.8), (0, -0.2), (0.8, 0.4)]
    with pytest.raises(ValueError, match="table: expected part_table's"):
        parts_figure((np.nan, 0, 0))


def test_a_rivals_bar_stands_over_its_own_order():
    rows = {"kind": "verb–object", "layer": 0, "head": 1, "rival_is_nearer": [True, False]}
    shares = pd.DataFrame(rows | {"own_share": [0.1, 0.7], "rival_share": [0.6, 0.2]})
    figure = plots.rival_bars(shares, {"verb–object": (0, 1)})
    heights = {round(bar.get_x() + bar.get_width() / 2, 1): bar.get_height() for bar in figure.axes[0].patches}
    assert heights == {-0.2: 0.7, 0.2: 0.2, 0.8: 0.1, 1.2: 0.6}
    for wrong in (shares[:1], shares.assign(head=2)):
        with pytest.raises(ValueError, match=r"expected verb–object, head 0\.1, in both orders"):
            plots.rival_bars(wrong, {"verb–object": (0, 1)})
    with pytest.raises(ValueError, match=r"heads: expected {kind: \(layer, head\)} for at least one kind"):
        plots.rival_bars(shares, {})


CELLS = """
import aero_helpers as aero
aero.plots.use_style()
record = aero.load("mini").record("The old man looked at the sea.")
# ---
aero.plots.head_maps(record, 0)
# ---
aero.plots.head_maps(record, 0);
# ---
aero.plots.head_maps(record, 0)
print("something after it")
# ---
figure = aero.plots.head_view(record, 0, 1, 3)
figure
# ---
figure
# ---
from IPython.display import display
display(aero.plots.head_view(record, 0, 1, 3))
# ---
for layer in range(2): aero.plots.head_maps(record, layer)
# ---
aero.plots.attention_map(record.head_weights(0, 0), record.tokens)
# ---
aero.explore(record)
"""


def test_a_notebook_shows_each_figure_once():
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.split("# ---\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120).execute()
    shown = [sum("image/png" in output.get("data", {}) for output in cell.outputs) for cell in notebook.cells]
    assert shown == [0, 1, 1, 1, 1, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("n_tokens", [41, 300, 1000])
def test_the_map_of_a_long_text_grows_no_more_and_says_which_tokens_it_names(n_tokens):
    scores = np.random.default_rng(0).normal(size=(1, 12, n_tokens, n_tokens)).astype(np.float32)
    record = aero.AttentionRecord([f"t{i}" for i in range(n_tokens)], scores, 8, "long")
    aero.set_language("en")
    figure, single = plots.head_maps(record, 0), plots.attention_map(record.head_weights(0, 3), record.tokens).figure
    step = -(-n_tokens // 40)
    for drawn in (figure, single):
        width, height = drawn.get_size_inches() * 110
        assert max(width, height) < 4200
        ax = drawn.axes[0]
        assert [label.get_text() for label in ax.get_yticklabels()] == [f"t{i}" for i in range(0, n_tokens, step)]
        assert np.allclose(ax.get_yticks(), np.arange(0, n_tokens, step))
        assert ax.images[0].get_array().size == n_tokens**2  # no number is left out
    assert figure._supxlabel.get_text() == f"one token in {step} is named"
    assert single.axes[0].get_xlabel() == f"key\none token in {step} is named"
    draw(single)


def test_a_table_shows_dollars_and_angles_as_they_are():
    table = pd.DataFrame(
        {"token": ["$5 and $6", "<b>", r"\(x\)", "$$"], "n": [1.5, 2, 3, 4], "$a_b$": [0.25, None, 1, 2]}
    )
    html = aero.captioned(table, "Giá $5 và $6 <i>", "Price $5 and $6 <i>").to_html()
    texts = re.findall(r">([^<]*)<", html)
    assert all(len(text) == 1 for text in texts if "$" in text or "\\" in text)  # no formula begins and ends in one
    plain = re.sub(r"<[^>]*>", "", html)
    for text in ("$5 and $6", "&lt;b&gt;", r"\(x\)", "$$", "$a_b$", "Giá $5 và $6 &lt;i&gt;"):
        assert text in plain


def test_what_is_given_as_a_generator_is_drawn_as_a_list_is(record):
    ticks = [label.get_text() for label in plots.attention_map(record.weights()[0, 0], record.tokens).get_xticklabels()]
    given = plots.attention_map(record.weights()[0, 0], (token for token in record.tokens))
    assert [label.get_text() for label in given.get_xticklabels()] == ticks
    curves = [[aero.density(record.raw_scores[layer, 0])] for layer in range(3)]
    drawn, given = (plots.density_map(each, -50, 50, "x") for each in (curves, iter(curves)))
    assert np.array_equal(drawn.images[0].get_array(), given.images[0].get_array())


def test_a_table_keeps_the_names_of_its_rows(record):
    parts = aero.part_table([record], aero.position_profile([record]))
    html = aero.captioned(aero.pooled_parts(parts, by="layer"), "a", "b").to_html()
    assert "tầng /\nlayer" in html and html.count("<tr>") == 1 + record.n_layers
    html = aero.captioned(aero.pooled_parts(parts).to_frame("share"), "a", "b").to_html()
    assert all(f">{name}<" in html for name in ("level", "position", "content"))
    assert "<td" in html and ">7<" not in aero.captioned(parts[parts.index == 7], "a", "b").to_html()


@pytest.mark.parametrize(
    "text", ["chữ Việt", "chữ Việt", "日本語 🧑‍🚀", "שלום", "a\u200bb\u202ec", "\x07bell", "₁₂₃", "ﷺ"]
)
def test_letters_without_a_glyph_are_replaced_without_a_warning(text, tmp_path):
    for letters in (text, unicodedata.normalize("NFD", text)):
        record = aero.AttentionRecord([letters, "b", "c"], np.zeros((1, 1, 3, 3)), 8, letters)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # matplotlib\'s use of its own libraries
            for figure in (
                plots.head_maps(record, 0),
                plots.head_view(record, 0, 0, 2),
                plots.attention_map(record.head_weights(0, 0), record.tokens).figure,
            ):
                figure.savefig(tmp_path / "figure.png")
                plt.close(figure)
