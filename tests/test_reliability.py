"""Whatever somebody brings: a right number, or the promised error. Files of any bytes; any argument to any function."""

import json
import pickle
import re
import resource
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

import aero_helpers as aero
from aero_helpers import corpus, links
from aero_helpers.mini import FOLDER, read_history

N_INPUTS = 10_400  # over the five readers


# Files


def record_bytes(folder):
    scores = np.random.default_rng(0).normal(size=(2, 2, 4, 4))
    aero.AttentionRecord(["The", " old", " man", "."], scores, 8, "a model", "0" * 64).save(folder / "record")
    return (folder / "record").read_bytes()


def profile_bytes(folder, lm):
    small = corpus.Profile(
        "m", 8, **{name: getattr(aero.profile(lm, ["The old man looked at the sea."]), name)[..., :1, :1]
                   for name in ("y", "yy", "yn")},
        n=np.ones(7), nn=np.ones(7), histogram=np.zeros((1, 1, corpus.BINS), np.int64),
        exponent=np.zeros((1, 1), np.int64), counts=np.array([1, 9, 0]),
    )  # fmt: skip
    small.histogram[0, 0, 5] = 1
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
    corpus._skip(iter(["a"] * 9), __import__("hashlib").sha256(), about.get("progress"), lm, found, path)


@pytest.fixture(scope="module")
def readers(tmp_path_factory, mini):
    """{name: (a whole file's bytes, the function that reads such a file)}."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        "record": (record_bytes(folder), aero.AttentionRecord.load),
        "profile": (profile_bytes(folder, mini), lambda path: aero.Profile.load(path).table()),
        "checkpoint": (profile_bytes(folder, mini), lambda path: read_profile_and_go_on(path, mini)),
        "matrices": (matrices_bytes(folder), lambda path: aero.read_head_matrices(path, 2)),
        "scenes": (links.SCENES.read_bytes()[:3000], aero.read_scenes),
        "history": ((FOLDER / "history.npz").read_bytes(), read_history),
    }


@pytest.mark.parametrize("name", ["record", "profile", "checkpoint", "matrices", "scenes", "history"])
def test_a_reader_takes_any_bytes_or_refuses_them(readers, tmp_path, name, record_property):
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
