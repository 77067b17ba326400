"""Files of arrays: written whole or not at all, and read only as they were written."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

LONGEST_PART = 2000  # letters of a damaged file that an error repeats


def write_whole(path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict[str, str]) -> None:
    """Write {name: numpy array} and {name: string} to one safetensors file, with the sum of all of it.

    The file is put in its place when it is whole; an older one survives a failure. Raises FileNotFoundError where the
    folder does not exist, IsADirectoryError for a folder.
    """
    path = place_for(path)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        unfinished = Path(folder) / path.name
        unfinished.touch()
        mode = (path if path.exists() else unfinished).stat().st_mode
        save_file(arrays, unfinished, metadata=about | {"sum": _sum(arrays, about)})
        unfinished.chmod(mode)  # save_file's own lets nobody else read it
        unfinished.replace(path)


def place_for(path: str | os.PathLike) -> Path:
    """Where a file of that name is to be written: behind a link what it points to.

    Raises FileNotFoundError where the folder does not exist, IsADirectoryError for a folder.
    """
    path = Path(path).resolve()
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file's name, got a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: expected an existing folder, found no {path.parent}")
    return path


def read_whole(path: str | os.PathLike, what: str, file_format: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """({name: numpy array}, {name: string}) of a file that `write_whole` wrote with that `format` among its strings.

    Files of earlier versions, without a sum, are read as well. Raises FileNotFoundError, or ValueError where the file
    is damaged or something else than `what`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected {what}, found no file")
    try:
        with safe_open(path, framework="np") as file:
            about = dict(file.metadata() or {})
            arrays = {}
            if about.get("format") == file_format:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except Exception as error:  # the library raises nearly anything on a damaged file
        raise ValueError(f"{path}: expected {what}, got a damaged or different file ({error!s:.300})") from error
    if about.get("format") != file_format:
        raise ValueError(f"{path}: expected the format {file_format!r}, got {about.get('format')!r:.{LONGEST_PART}}")
    expected = about.pop("sum", None)
    if expected not in (None, _sum(arrays, about)):
        raise ValueError(f"{path}: expected {what} as it was written, got a damaged one: its SHA-256 sum is another")
    return arrays, about


def _sum(arrays, about):
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.shape} {array.dtype}".encode())
        total.update(array.data if array.size else b"")
    return total.hexdigest()
