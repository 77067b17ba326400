"""Whatever somebody brings: a right number, or the promised error. Files of any bytes; any argument to any function."""

import hashlib
import json
import pickle
import re
import resource
import struct
import subprocess
import sys
import unicodedata
import warnings
from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from safetensors.numpy import save_file
from transformers import GPT2LMHeadModel

import aero_helpers as aero
from aero_helpers import corpus, links
from aero_helpers.files import read_whole
from aero_helpers.mini import FOLDER, read_history

N_INPUTS = 10_400  # files, over the six readers
N_CALLS = 842  # with an argument that is wrong


# Files


def record_bytes(folder):
    scores = np.random.default_rng(0).normal(size=(2, 2, 4, 4))
    aero.AttentionRecord(["The", " old", " man", "."], scores, 8, "a model", "0" * 64).save(folder / "record")
    return (folder / "record").read_bytes()


def profile_bytes(folder):
    """A profile of one head, one text and one score."""
    sums = {name: np.zeros((7, 1, 1)) for name in corpus.NUMERATORS} | {
        name: np.ones(7) for name in corpus.DENOMINATORS
    }
    histogram, exponent = np.zeros((1, 1, corpus.BINS), np.int64), np.zeros((1, 1), np.int64)
    histogram[0, 0, 5] = 1
    small = corpus.Profile("m", 8, **sums, histogram=histogram, exponent=exponent, counts=np.array([1, 9, 0]))
    small._save(folder / "profile", {"progress": json.dumps([3, "0" * 64])})
    return (folder / "profile").read_bytes()


def matrices_bytes(folder):
    shapes = {"attn.c_attn.weight": (4, 12), "attn.c_attn.bias": (12,), "attn.c_proj.weight": (4, 4)}
    shapes |= {"ln_1.weight": (4,), "ln_1.bias": (4,)}
    tensors = {f"h.0.{name}": np.ones(shape, np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / "matrices")
    return (folder / "matrices").read_bytes()


def header_altered(content, rng):
    """A safetensors file with something else in its header, and often with the length that fits it."""
    length = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + length].decode()
    number = rng.choice(["-1", "0", "1", "18446744073709551615", "9999999999999", "1e400", "NaN", "null", '"x"', "[]"])
    numbers = list(re.finditer(r"\d+", header))
    place = numbers[rng.integers(len(numbers))].span()
    changes = [
        header[: place[0]] + number + header[place[1] :],
        header.replace("F32", rng.choice(["BF16", "F8_E4M3", "I64", "C64", "BOOL", "Z9"])),
        header.replace('"', "'"),
        header[:-1] + ', "more": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}',
        re.sub(r'"sum":"[0-9a-f]*"', f'"sum":"{number}"', header),
        re.sub(r'"sum":"[0-9a-f]*"', '"some":"thing"', header),  # as if of an earlier version: nothing to compare with
        re.sub(r'"(tokens|head_size|progress|model_name)":"[^"]*"', rf'"\1":"{"[" * 2000}"', header),
        re.sub(r'"(tokens|head_size|progress|model_name)":"[^"]*"', r'"\1":"-3"', header),
        "[" * 3000,
        "",
    ]
    new = changes[rng.integers(len(changes))].encode()
    size = [len(new), length, 2**63, 2**40, 0][rng.choice(5, p=[0.8, 0.05, 0.05, 0.05, 0.05])]
    return struct.pack("<Q", size) + new + content[8 + length :]


def numbers_altered(content, rng):
    """NaN, infinity or huge numbers among the data."""
    changed = bytearray(content)
    for value in (np.float32("nan"), np.float64("inf"), np.float64(1e300), np.int64(-1), np.int64(2**62)):
        if rng.random() < 0.5:
            place = rng.integers(8, len(changed) - 8)
            changed[place : place + value.nbytes] = value.tobytes()
    return bytes(changed)


def bits_flipped(content, rng):
    changed = bytearray(content)
    for place in rng.integers(len(changed), size=rng.integers(1, 6)):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


class Pickled:
    """Would leave a trace if anybody unpickled it."""

    loaded = False

    def __reduce__(self):
        return setattr, (Pickled, "loaded", True)


MUTATIONS = {
    "random bytes": lambda content, rng: rng.bytes(rng.integers(0, 300)),
    "cut": lambda content, rng: content[: rng.integers(len(content))],
    "bits": bits_flipped,
    "a piece twice": lambda content, rng: content[: (i := rng.integers(len(content)))] + content[i // 2 :],
    "numbers": numbers_altered,
    "header": header_altered,
    "pickle": lambda content, rng: pickle.dumps(Pickled()) + content * int(rng.integers(2)),
}


def read_profile_and_go_on(path, lm):
    found, about = corpus.Profile._load(path)
    corpus._skip(iter(["a"] * 9), hashlib.sha256(), about.get("progress"), lm, found, path)


@pytest.fixture(scope="module")
def readers(tmp_path_factory, mini):
    """{name: (a whole file's bytes, the function that reads such a file)}."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        "record": (record_bytes(folder), aero.AttentionRecord.load),
        "profile": (profile_bytes(folder), lambda path: aero.Profile.load(path).table()),
        "checkpoint": (profile_bytes(folder), lambda path: read_profile_and_go_on(path, mini)),
        "matrices": (matrices_bytes(folder), lambda path: aero.read_head_matrices(path, 2)),
        "scenes": (links.SCENES.read_bytes()[:3000], aero.read_scenes),
        "history": ((FOLDER / "history.npz").read_bytes(), read_history),
    }


@pytest.mark.parametrize("name", ["record", "profile", "checkpoint", "matrices", "scenes", "history"])
def test_a_reader_takes_any_bytes_or_refuses_them(readers, tmp_path, name):
    content, read = readers[name]
    rng, refused, taken = np.random.default_rng(7), 0, 0
    kinds = [kind for kind in MUTATIONS if kind != "header" or name not in ("scenes", "history")]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n_inputs = N_INPUTS // len(readers)
    for i in range(n_inputs):
        path = tmp_path / f"{i % 7}"
        start = content if rng.random() < 0.5 else content.replace(b'"sum":', b'"sun":')  # an earlier version's: no sum
        path.write_bytes(MUTATIONS[kinds[i % len(kinds)]](start, rng))
        try:
            result = read(path)
            taken += 1
        except ValueError as error:
            assert 10 < len(str(error)) < 3000
            refused += 1
            continue
        if name == "record":
            assert result.raw_scores.isfinite().all() and result.head_size >= 1
        elif name == "history":
            assert all(np.isfinite(array).all() for array in result.values())
    assert refused + taken == n_inputs and refused > 0.3 * n_inputs
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # kB: a gigabyte
    assert not Pickled.loaded


def test_a_whole_file_is_read_and_any_change_of_a_saved_number_is_seen(readers, tmp_path):
    for name in ("record", "profile"):
        content, read = readers[name]
        path = tmp_path / name
        path.write_bytes(content)
        read(path)
        start = 8 + struct.unpack("<Q", content[:8])[0]
        for place in np.random.default_rng(0).integers(start, len(content), 200):
            path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(ValueError, match="damaged one: its SHA-256 sum is another"):
                read(path)


def test_scenes_in_the_encodings_of_windows(tmp_path):
    text = links.SCENES.read_text(encoding="utf-8")
    path = tmp_path / "scenes.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert aero.read_scenes(path) == aero.read_scenes()
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert aero.read_scenes(path) == aero.read_scenes()
    for encoding, letters in (("cp1258", "Ông già"), ("utf-16", ""), ("cp1252", "é")):
        path.write_bytes(f"# {letters}\n{text}".encode(encoding, "replace"))
        with pytest.raises(ValueError, match=r'expected UTF-8, got another encoding .*save the file as "UTF-8"'):
            aero.read_scenes(path)


# Arguments

NAN = float("nan")
NO_COUNT = [0, -1, 1.5, "2", True, None, NAN, [3]]
NO_INDEX = [-1, 99, 1.5, "0", True, None, [0]]
NO_NAME = ["nonsense", None, 3, "", ["causal"]]
NO_FILE = ["/nowhere/file", "/", 3.5, None]
NO_TEXT = [None, 3, b"The", ["The"], "", "\ud800", "a " * 5000]
NO_VALUES = [None, "text", [], [NAN, 1.0], [np.inf], object(), [1j], [[1.0], [1.0, 2.0]], pd.DataFrame({"a": [1.0, 2]})]
NO_BANDWIDTH = [0, -1.0, NAN, np.inf, "nonsense", None, True, [1.0]]
NO_RECORD = [None, "text", 3, [], {}, torch.zeros(1, 1, 3, 3)]
NO_RECORDS = [None, 3, "text", [], [None], ["text"], {"a": 1}]
NO_TENSOR = [None, "text", 3, [[1.0, 2.0]], np.zeros((2, 3, 4, 4)), torch.zeros(2, 3, 4, 4).long(), torch.zeros(4)]
NO_TABLE = [None, "text", 3, [], {"layer": [0]}, torch.zeros(2, 2), pd.DataFrame(), pd.DataFrame({"other": [1.0]}),
            pd.Series([1.0])]  # fmt: skip
NO_MODEL = [None, "mini", 3, torch.nn.Linear(2, 2)]


@pytest.fixture(scope="module")
def calls(mini):
    """{name: (function, arguments that are right, {argument: wrong ones})}."""
    record, other = mini.record("The old man looked at the sea."), mini.untrained().record("The old man.")
    scenes = aero.read_scenes()[:2]
    records = [mini.record(scene.text) for scene in scenes]
    q = torch.randn(2, 5, 4)
    table, tables = aero.shift_table(record), aero.shift_tables([record, record])
    profile = aero.position_profile([record])
    parts, shares = aero.part_table([record], profile), aero.link_shares(aero.link_table(records, scenes))
    rivals = aero.read_scenes(links.RIVALS)[:2]
    rival_table = aero.rival_table([mini.record(scene.text) for scene in rivals], rivals)
    curves = [[aero.density([0.0, 1.0, 2.0])]]
    queries, keys = mini.queries_and_keys("The old man.")
    p, i = aero.plots, aero.interventions
    found = aero.profile(mini, ["The old man looked at the sea."])
    return {
        "causal_mask": (aero.causal_mask, {"n_tokens": 3}, {"n_tokens": NO_COUNT}),
        "split_qkv": (aero.split_qkv, {"activation": torch.zeros(5, 12)}, {"activation": NO_TENSOR}),
        "split_heads": (
            aero.split_heads,
            {"x": torch.zeros(5, 12), "n_heads": 3},
            {"x": [*NO_TENSOR, torch.zeros(5, 11)], "n_heads": [*NO_COUNT, 5]},
        ),
        "merge_heads": (aero.merge_heads, {"x": q}, {"x": [*NO_TENSOR, torch.zeros(2, 2)]}),
        "raw_scores": (
            aero.raw_scores,
            {"q": q, "k": q},
            {"q": NO_TENSOR, "k": [*NO_TENSOR, q.double(), q[:1], q[..., :2]]},
        ),
        "score_terms": (
            aero.score_terms,
            {"q": q, "k": q, "b_q": q[:, 0], "b_k": q[:, 0]},
            {"q": NO_TENSOR, "k": NO_TENSOR, "b_q": [*NO_TENSOR, q], "b_k": [*NO_TENSOR, q]},
        ),
        "attention_weights": (
            aero.attention_weights,
            {"raw_scores": torch.zeros(2, 3, 3), "head_size": 4},
            {"raw_scores": [*NO_TENSOR, torch.zeros(2, 3)], "head_size": NO_COUNT},
        ),
        "density": (
            aero.density,
            {"values": [0.0, 1.0, 3.0]},
            {
                "values": NO_VALUES,
                "bandwidth": NO_BANDWIDTH,
                "weights": ["x", [1.0], [-1.0, 1, 1], [0, 0, 0]],
                "bounds": [3, "x", (1,), (1, 0), (2, 5), (NAN, 1), (0, 1, 2)],
            },
        ),
        "gaussian_sum": (
            aero.gaussian_sum,
            {"values": [0.0, 1.0], "x": [0.0], "bandwidth": 1.0},
            {"values": NO_VALUES, "x": NO_VALUES, "bandwidth": NO_BANDWIDTH},
        ),
        "density_of_histogram": (
            aero.density_of_histogram,
            {"counts": [1, 2, 1], "low": 0, "width": 1, "bandwidth": 2},
            {
                "counts": [*NO_VALUES, [0.5, 1], [-1, 2], [[1, 2]]],
                "low": [NAN, None, "x", np.inf],
                "width": [0, -1, NAN, None, "x", [1]],
                "bandwidth": [*NO_BANDWIDTH, 0.5],
            },
        ),
        "encode": (mini.encode, {"text": "The"}, {"text": NO_TEXT, "truncate": [0, -1, 1.5, "2", 999, NAN]}),
        "record": (
            mini.record,
            {"text": "The old"},
            {"text": NO_TEXT, "first_position": [-1, 1.5, "0", True, 255, None]},
        ),
        "loss": (mini.loss, {"text": "The old man"}, {"text": [*NO_TEXT, "The"]}),
        "queries_and_keys": (mini.queries_and_keys, {"text": "The"}, {"text": NO_TEXT}),
        "load": (aero.load, {"name": "mini"}, {"name": ["nonsense", "", "/nowhere", None, 3]}),
        "AttentionRecord": (
            aero.AttentionRecord,
            {"tokens": list("ab"), "raw_scores": np.zeros((1, 1, 2, 2)), "head_size": 4, "model_name": "m"},
            {
                "tokens": [None, 3, ["a"], [1, 2]],
                "head_size": NO_COUNT,
                "model_name": [None, 3],
                "fingerprint": [None, 3],
                "raw_scores": [*NO_VALUES, np.zeros((1, 1, 2, 3))],
            },
        ),
        "head_scores": (record.head_scores, {"layer": 0, "head": 0}, {"layer": NO_INDEX, "head": NO_INDEX}),
        "first": (record.first, {"n_tokens": 2}, {"n_tokens": [*NO_COUNT, 99]}),
        "record.save": (record.save, {"path": "/dev/shm/aero-record"}, {"path": NO_FILE}),
        "record.load": (aero.AttentionRecord.load, {"path": "/dev/shm/aero-record"}, {"path": NO_FILE}),
        "save_page": (
            aero.save_page,
            {"record": record, "path": "/dev/shm/aero-page.html"},
            {"record": [*NO_RECORD, [record]], "path": NO_FILE},
        ),
        "select_entries": (aero.select_entries, {"n_tokens": 3}, {"n_tokens": NO_COUNT, "entries": NO_NAME}),
        "shift_table": (aero.shift_table, {"record": record}, {"record": [*NO_RECORD, [record]], "entries": NO_NAME}),
        "shift_tables": (
            aero.shift_tables,
            {"records": [record]},
            {"records": [*NO_RECORDS, [record, other], record], "entries": NO_NAME},
        ),
        "mean_over_texts": (aero.mean_over_texts, {"tables": tables}, {"tables": NO_TABLE}),
        "own_and_other_keys": (
            aero.own_and_other_keys,
            {"queries": queries, "keys": keys},
            {"queries": NO_TENSOR, "keys": [*NO_TENSOR, keys[:1]]},
        ),
        "term_table": (
            aero.term_table,
            {"terms": {"a": torch.zeros(1, 2, 3, 3)}},
            {"terms": [None, 3, "x", [], {}, {"a": 3}, {"a": torch.zeros(3)}, {"a": torch.zeros(1, 2, 3, 4)}]},
        ),
        "position_profile": (
            aero.position_profile,
            {"records": [record]},
            {"records": [*NO_RECORDS, [record, other], record]},
        ),
        "part_table": (
            aero.part_table,
            {"records": [record], "profile": profile},
            {"records": [*NO_RECORDS, record], "profile": [*NO_TENSOR[:4], profile[:1], profile[..., :2, :2]]},
        ),
        "pooled_parts": (
            aero.pooled_parts,
            {"table": parts},
            {"table": NO_TABLE, "by": ["nonsense", 3, ["layer", "x"]]},
        ),
        "link_table": (
            aero.link_table,
            {"records": records, "scenes": scenes},
            {"records": [*NO_RECORDS, records[:1]], "scenes": [None, 3, "x", [], scenes[:1], [3]]},
        ),
        "link_shares": (aero.link_shares, {"links": aero.link_table(records, scenes)}, {"links": NO_TABLE}),
        "rival_shares": (aero.rival_shares, {"rivals": rival_table}, {"rivals": NO_TABLE}),
        "shuffled_texts": (
            aero.shuffled_texts,
            {"scenes": scenes, "n_texts": 2},
            {"n_texts": NO_COUNT, "scenes": [None, 3, "x", [], [3]], "seed": [-1, "x", 1.5]},
        ),
        "read_scenes": (aero.read_scenes, {}, {"path": NO_FILE}),
        "interval": (
            aero.interval,
            {"table": tables, "statistic": lambda t: t["mean"].mean(), "by": "text"},
            {
                "table": NO_TABLE,
                "statistic": [None, "x", 3],
                "by": ["nonsense", 3, None],
                "level": [0, 1, 2, NAN, "x", None],
                "n_resamples": NO_COUNT,
            },
        ),
        "rank_correlation": (
            aero.rank_correlation,
            {"table": table, "x": "mean", "y": "entropy"},
            {"table": NO_TABLE, "x": ["nonsense", None, 3], "y": ["nonsense"], "given": ["nonsense", 3]},
        ),
        "singular_values": (
            aero.singular_values,
            {"a": q, "b": q},
            {"a": [None, 3, "x", q[0]], "b": [None, q[..., :2]]},
        ),
        "matrix_table": (aero.matrix_table, {"matrices": mini.head_matrices()}, {"matrices": [None, 3, {}, q]}),
        "read_head_matrices": (
            aero.read_head_matrices,
            {"path": aero.models.MINI_FOLDER / "model.safetensors", "n_heads": 4},
            {"path": NO_FILE, "n_heads": [*NO_COUNT, 7]},
        ),
        "profile": (
            aero.profile,
            {"lm": mini, "texts": ["The old man."]},
            {"lm": NO_MODEL, "texts": [None, 3, "text", [3], [None], {"a": "b"}], "checkpoint": NO_FILE[:3]},
        ),
        "Profile.density": (
            found.density,
            {"layer": 0, "head": 0},
            {"layer": NO_INDEX, "head": NO_INDEX, "bandwidth": NO_BANDWIDTH},
        ),
        "Profile.load": (aero.Profile.load, {"path": None}, {"path": NO_FILE}),
        "intervention_table": (
            aero.intervention_table,
            {"lm": mini, "texts": ["The old man."]},
            {"lm": NO_MODEL, "texts": [None, 3, [], [3], {"a": "b"}]},
        ),
        "scale_spread": (i.scale_spread, {"factor": 2.0}, {"factor": [None, "x", NAN, [2], True]}),
        "hide_key": (i.hide_key, {"key": 1}, {"key": [-1, 1.5, "0", True, None]}),
        "position_alone": (i.position_alone, {"profile": profile}, {"profile": NO_TENSOR[:4]}),
        "explore": (aero.explore, {"record": record}, {"record": NO_RECORD}),
        "explore_bandwidth": (aero.explore_bandwidth, {"values": [0.0, 1.0]}, {"values": NO_VALUES}),
        "attention_map": (
            p.attention_map,
            {"matrix": np.eye(3), "tokens": list("abc")},
            {
                "matrix": [None, "x", np.zeros((2, 3)), np.zeros(3), [[1j]]],
                "tokens": [None, 3, ["a"], [1, 2, 3]],
                "kind": NO_NAME,
            },
        ),
        "head_maps": (
            p.head_maps,
            {"record": record, "layer": 0},
            {"record": NO_RECORD, "layer": NO_INDEX, "kind": NO_NAME},
        ),
        "head_view": (
            p.head_view,
            {"record": record, "layer": 0, "head": 0, "query": 3},
            {"record": NO_RECORD, "layer": NO_INDEX, "head": NO_INDEX, "query": NO_INDEX, "kind": NO_NAME},
        ),
        "bandwidth_view": (
            p.bandwidth_view,
            {"values": [0.0, 1.0], "bandwidth": 1.0},
            {"values": NO_VALUES, "bandwidth": NO_BANDWIDTH},
        ),
        "captioned": (
            aero.captioned,
            {"table": table, "vi": "a", "en": "b"},
            {"table": [None, 3, "x", [], pd.Series([1])]},
        ),
        "layer_head_map": (p.layer_head_map, {"table": table}, {"table": NO_TABLE, "column": NO_NAME}),
        "laminar_profile": (
            p.laminar_profile,
            {"table": table, "columns": "mean"},
            {"table": NO_TABLE, "columns": ["nonsense", None, 3, [], ["mean", "x"]], "null": [3, "x", pd.DataFrame()]},
        ),
        "density_map": (
            p.density_map,
            {"curves": curves, "low": 0, "high": 1, "xlabel": "x"},
            {"curves": [None, 3, [], [[]], [[3]]], "low": [2, NAN, None, "x"], "high": [-1, NAN, None]},
        ),
        "score_densities": (
            p.score_densities,
            {"trained": record, "untrained": other},
            {"trained": NO_RECORD, "untrained": NO_RECORD, "entries": NO_NAME},
        ),
        "layer_ridges": (p.layer_ridges, {"records": record}, {"records": NO_RECORDS}),
        "against_entropy": (
            p.against_entropy,
            {"table": table, "column": "mean"},
            {"table": NO_TABLE, "column": NO_NAME},
        ),
        "what_goes_with_sparsity": (p.what_goes_with_sparsity, {"table": table}, {"table": NO_TABLE}),
        "score_parts": (
            p.score_parts,
            {"table": parts, "profile": profile},
            {"table": NO_TABLE, "profile": [*NO_TENSOR[:4], profile[:1]]},
        ),
        "training_frame": (
            p.training_frame,
            {"history": aero.training_history(), "step": 0},
            {"history": [None, 3, {}], "step": [-1, None, "x", 10**6]},
        ),
        "training_stills": (p.training_stills, {"history": aero.training_history()}, {"history": [None, 3, {}, []]}),
        "link_scatter": (p.link_scatter, {"shares": shares}, {"shares": NO_TABLE}),
        "rival_bars": (
            p.rival_bars,
            {"shares": aero.rival_shares(rival_table), "heads": {"determiner–noun": (0, 0)}},
            {
                "shares": NO_TABLE,
                "heads": [None, 3, {}, {"x": (0, 0)}, {"determiner–noun": 3}, {"determiner–noun": (9, 9)}],
            },
        ),
        "verify": (aero.verify, {"lm": mini}, {"lm": NO_MODEL, "text": [None, 3, "", "The", ["The old man."]]}),
        "set_language": (aero.set_language, {"language": "both"}, {"language": ["fr", None, 3, ""]}),
    }


def complaint(function, arguments):
    """What is wrong with how a call ends, or None: it has to raise an error of Python's that says what it expected."""
    try:
        got = function(**arguments)
    except (TypeError, ValueError, IndexError, OSError) as error:
        words = str(error)
        return None if "expected" in words and len(words) < 3000 else f"{type(error).__name__}: {words}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        plt.close("all")
    return f"taken: {type(got).__name__}"


def test_every_function_refuses_what_it_cannot_use(calls):
    complaints, n_calls = [], 0
    for name, (function, right, wrong) in calls.items():
        for argument, values in wrong.items():
            for value in values:
                what = complaint(function, {**right, argument: value})
                n_calls += 1
                if what:
                    complaints.append(f"{name}({argument}={value!r:.50}): {what:.120}")
    print("\n".join(complaints))
    assert n_calls == N_CALLS and complaints == []


# What an attacker found


def test_numbers_that_would_be_wrong_without_a_word_are_refused(mini, tmp_path):
    queries, keys = mini.queries_and_keys("The old man looked.")
    record = mini.record("The old man looked at the sea.")
    tables = aero.shift_tables([mini.record("The old man."), mini.record("A dog.")])
    masked = np.ma.array([1.0, 2, 99], mask=[0, 0, 1])
    shares = {"level": [0.5, NAN], "position": [0.2, NAN], "content": [0.3, NAN], "mean_square": [1.0, 2.0]}
    matrices, words = mini.head_matrices(), pd.DataFrame({"a": ["9", "10"], "b": [1, 2]})
    table, other = aero.shift_table(mini.record("The old man.")), aero.shift_table(mini.record("A dog."))
    deeper = other.assign(layer=other.layer + 1)
    profile, p = aero.position_profile([mini.record("The old man.")]), aero.plots
    parts = aero.part_table([mini.record("A dog.")], profile)
    rows = aero.link_table([mini.record(s.text) for s in aero.read_scenes()[:3]], aero.read_scenes()[:3])
    pairs = aero.read_scenes(links.RIVALS)[:2]
    rivals = aero.rival_table([mini.record(s.text) for s in pairs], pairs)
    bins = pd.cut(pd.Series([0.5, 1.5, 1.5, 2.5, 2.5, 2.5]), [0, 1, 2, 3])
    texts = pd.DataFrame({"text": np.random.default_rng(0).permutation(20)}).assign(x=lambda t: (t.text >= 10) * 5.0)
    dead = replace(record, raw_scores=record.raw_scores * (torch.arange(6) != 2)[:, None, None, None])

    def late(table):
        return table.x[table.text >= 10].mean()

    twice = pd.concat([aero.link_shares(aero.link_table([mini.record(s.text)], [s])) for s in aero.read_scenes()[:2]])
    for call, complaint in {
        "NaN": (lambda: aero.own_and_other_keys(queries * NAN, keys), "expected finite numbers of one dtype"),
        "half": (lambda: aero.own_and_other_keys(queries.half(), keys), "expected finite numbers of one dtype"),
        "texts": (lambda: aero.plots.laminar_profile(tables, "entropy"), "expected one row a .layer, head."),
        "texts, map": (lambda: p.layer_head_map(tables), "expected one row a .layer, head."),
        "no heads": (lambda: p.laminar_profile(table.drop(columns="head"), "mean"), "expected the columns layer, head"),
        "links twice": (lambda: p.link_scatter(twice), "expected one row a .kind, layer, head."),
        "deeper null": (lambda: p.laminar_profile(table, "mean", deeper), "null: expected the table's layers"),
        "infinity": (lambda: p.layer_head_map(table.replace({"mean": {table["mean"][0]: np.inf}}), "mean"), "infinity"),
        "a remark": (lambda: aero.mean_over_texts(tables.assign(remark="good")), "expected floats in 'remark'"),
        "NaN terms": (lambda: aero.term_table({"a": torch.full((1, 2, 3, 3), NAN)}), "got NaN or infinity"),
        "negative": (lambda: aero.pooled_parts(parts.assign(mean_square=-parts["mean_square"])), "from 0 up"),
        "shares": (lambda: aero.pooled_parts(pd.DataFrame(shares)), "got NaN among the shares"),
        "NaN links": (lambda: aero.link_shares(rows.assign(weight=rows["weight"].mask(rows.index == 3))), "in weight"),
        "NaN rivals": (lambda: aero.rival_shares(rivals.assign(own=rivals["own"].mask(rivals.index == 3))), "in own"),
        "no name": (lambda: aero.pooled_parts(parts.assign(kind=[None, *"a" * (len(parts) - 1)]), "kind"), "in kind"),
        "sorted by size": (lambda: aero.density_of_histogram(bins.value_counts(), 0, 1), "bins from low to high"),
        "named texts": (lambda: aero.interval(texts, late, "text"), "does not look at the names in 'text'"),
        "numbered texts": (lambda: aero.interval(texts.sort_values("text"), late, "text"), "not look at the names"),
        "short text": (lambda: aero.intervention_table(mini, ["He smiled."]), "expected 5 tokens or more, got 4"),
        "a head of 0": (lambda: p.layer_ridges(dead), "got a head of layer 2 with one value alone"),
        "missing": (lambda: aero.density(pd.array([1.0, None, 3.0], "Float64")), "got 1 NaN"),
        "nested": (lambda: aero.density([[masked], [masked]]), "got lists of lists of them"),
        "words": (lambda: aero.rank_correlation(words, "a", "b"), "expected numbers"),
        "bounds": (lambda: aero.density([0.2, 0.5], bounds="01"), "bounds: expected two numbers"),
        "matrices": (lambda: aero.matrix_table(matrices._replace(w_q=matrices.w_q * NAN)), "expected finite numbers"),
        "head size": (lambda: aero.attention_weights(torch.zeros(2, 2), 10**400), "one of 401 digits"),
        "here": (lambda: aero.load(""), "expected one of"),
    }.values():  # fmt: skip
        with pytest.raises(ValueError, match=complaint):
            call()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda scores, layer: torch.full_like(scores, -torch.inf), "expected a finite score in each row's past"),
        (lambda scores, layer: torch.full_like(scores, torch.inf), "expected a finite score in each row's past"),
        (lambda scores, layer: scores.resize_(1, 1, 1, 1), "expected raw scores .* back, got .1, 1, 1, 1."),
    ],
)
def test_a_change_that_leaves_no_attention_is_refused(mini, change, words):
    with pytest.raises(ValueError, match=words), mini.intervene(change):
        mini.loss("The old man looked.")


def altered(name, value):
    return lambda arrays: arrays | {name: value(arrays[name])}


@pytest.mark.parametrize(
    "alter",
    [
        altered("numerators", lambda x: x * 1e9),
        altered("numerators", lambda x: -x),
        altered("squared_numerators", lambda x: -x - 1),
        altered("denominators", lambda n: n * np.array([1, 2, 1, 1, 1, 1, 1])),
        altered("counts", lambda counts: counts.astype(float)),
        altered("histogram", lambda histogram: histogram * 2),
    ],
)
def test_a_profile_whose_sums_no_corpus_gives_is_refused(mini, tmp_path, alter):
    aero.profile(mini, ["The old man looked."]).save(tmp_path / "profile")
    arrays, about = read_whole(tmp_path / "profile", "a profile", corpus.FORMAT)
    save_file(alter(arrays), tmp_path / "profile", metadata=about)
    with pytest.raises(ValueError, match=r"expected a (whole )?profile"):
        aero.Profile.load(tmp_path / "profile")


def test_a_profile_of_an_unnamed_model_is_refused(mini, tmp_path):
    aero.profile(mini, ["The old man looked."]).save(tmp_path / "profile")
    arrays, about = read_whole(tmp_path / "profile", "a profile", corpus.FORMAT)
    del about["model_name"]
    save_file(arrays, tmp_path / "profile", metadata=about)
    with pytest.raises(ValueError, match="expected a whole profile"):
        aero.Profile.load(tmp_path / "profile")


def test_the_null_model_can_be_made_in_inference_mode(mini):
    with torch.inference_mode():
        untrained = mini.untrained()
    assert untrained.record("The old man.").fingerprint == mini.untrained().fingerprint


# Texts

TEXTS = {
    "Vietnamese, composed": unicodedata.normalize("NFC", "Tiếng Việt: các đầu chú ý nhìn về phía trước."),
    "Vietnamese, decomposed": unicodedata.normalize("NFD", "Tiếng Việt: các đầu chú ý nhìn về phía trước."),
    "emoji": "A 👩‍🚀 and a 👍🏽 and a 🇻🇳 flag",
    "right to left": "שלום עולם and العربية في جملة",
    "Chinese": "注意力头在看什么",
    "zero-width": "a\u200bb\u200dc\ufeffd \u202egnirts\u202c",
    "control characters": "a\x00b\x07c\x1b[31mred\x7f\x85",
    "only spaces": "     ",
    "line ends": "\r\n\n\r\t\n",
    "an end token inside": "One story.<|endoftext|>Another one.",
    "dollars": "It cost $5 and $6, $$x^2$$ and \\(y\\).",
    "one letter": "a",
    "long": "the sea " * 125_000,  # a million letters in one line
}


@pytest.mark.parametrize("name", TEXTS)
def test_any_text_gives_the_models_own_attention_or_a_word(mini, eager, name, tmp_path):
    text = TEXTS[name]
    if name == "long":
        with pytest.raises(ValueError, match=r"expected at most 256 tokens, .* truncate=True keeps the first 256"):
            mini.record(text)
        assert aero.profile(mini, [text[:20_000]]).counts[1] == len(mini.token_ids(text[:20_000]))
    record = mini.record(text, truncate=True)
    ids = torch.tensor([mini.token_ids(text)[:256]])
    with torch.no_grad():
        own = torch.stack(eager(ids, output_attentions=True).attentions)[:, 0]
    assert torch.allclose(record.weights(), own, atol=1e-5)
    assert len(record.tokens) == ids.shape[1] and all(record.tokens)
    assert record.tokens == aero.AttentionRecord.load(saved(record, tmp_path)).tokens
    if record.n_tokens < 100:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # matplotlib\'s use of its own libraries
            aero.plots.head_maps(record, 0).savefig(tmp_path / "heads.png")
    plt.close("all")


def saved(record, folder):
    record.save(folder / "record")
    return folder / "record"


@pytest.fixture(scope="module")
def eager(mini):
    """mini, attending as transformers' own eager attention does."""
    return GPT2LMHeadModel.from_pretrained(aero.models.MINI_FOLDER, attn_implementation="eager").eval()


# The page


NAME = r"^tests/test_(\w+)\.py::(\w+)"


def test_the_pages_name_tests_that_are_there_and_their_cases():
    pages = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("reliability.md", "reliability.vi.md")]
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests"]
    collected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    cases = Counter(re.findall(NAME, collected, re.M))
    for page, n_inputs in zip(pages, (f"{N_INPUTS:,}", f"{N_INPUTS:,}".replace(",", "."))):
        named = {(file, test): int(n) for file, test, n in re.findall(r"`(\w+)::(\w+)` (\d+)", page)}
        assert len(named) >= 45 and named == {test: cases[test] for test in named}
        assert f"{N_CALLS} " in page and n_inputs in page
    assert len({tuple(re.findall(r"`\w+::\w+` \d+", page)) for page in pages}) == 1
    assert len({page.count("\n## ") for page in pages}) == 1
