"""GPT-2 Small from the Hugging Face hub: whether it is here, whether it is whole, and how it comes.

The hub's own client downloads, in a process of its own: that can be given up at any moment and takes its locks with it,
so that neither a hub that stalls nor Ctrl-C stands in the way of the next try.
"""

import hashlib
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.file_download import repo_folder_name
from tqdm.auto import tqdm

REPOSITORY = "openai-community/gpt2"
REVISION = "607a30d783dfa663caf39e06633721c8d4cfcd7e"  # pinned: the course's numbers belong to it
FILES = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"]
MEGABYTES = 550
AFTER_A_BROKEN_DOWNLOAD = """\
Nếu việc tải bị ngắt giữa chừng: chạy lại ô mã này, phần đã tải vẫn còn. Muốn học ngay với mô hình nhỏ: chạy
%env AERO_MODEL=mini, rồi chạy lại ô mã này.
If the download breaks off: run this cell again, what has arrived is kept. To start at once with the small model: run
%env AERO_MODEL=mini, then run this cell again."""
PATIENCE = 3  # seconds for the first answer
STALLED = 5  # seconds in which hardly anything arrived, after which a download is given up
LEAST_SPEED = 20_000  # bytes a second: GPT-2 Small would take eight hours
LONGEST_START = 60  # seconds until Python has read the hub's client, on a machine with other work

DOWNLOAD = """
import json, sys
from huggingface_hub import constants, hf_hub_download
constants.DOWNLOAD_CHUNK_SIZE = 2**16  # what arrives is seen on the disk at once
print("started", flush=True)
for name in json.loads(sys.argv[1]):
    hf_hub_download(filename=name, **json.loads(sys.argv[2]))
"""


def cached_folder() -> Path | None:
    """The folder of GPT-2 Small on this machine, or None where any of its files is missing or was damaged.

    A damaged file is removed, so that the next download brings it anew. Raises ConnectionError where it cannot be.
    """
    found = [try_to_load_from_cache(REPOSITORY, name, constants.HF_HUB_CACHE, REVISION) for name in FILES]
    files = [Path(path) for path in found if isinstance(path, str)]  # where the hub said that there is none: no str
    damaged = [path for path in files if not _is_whole(path)]
    for path in damaged:
        try:
            path.resolve().unlink()
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConnectionError(
                f"{path}: damaged, other bytes than the hub sent, and it cannot be removed ({error}): delete it, and"
                ' load again; load("mini") needs no network'
            ) from error
    return files[0].parent if len(files) == len(FILES) and not damaged else None


def answers() -> bool:
    """Whether the hub answers within PATIENCE seconds, name look-up included."""
    if constants.HF_HUB_OFFLINE:
        return False
    url = f"{constants.ENDPOINT}/{REPOSITORY}/resolve/{REVISION}/config.json"
    answer: queue.Queue = queue.Queue()

    def ask():
        try:
            urlopen(Request(url, method="HEAD"), timeout=PATIENCE).close()
            answer.put(True)
        except (OSError, ValueError):  # ValueError: an endpoint that is no address
            answer.put(False)

    threading.Thread(target=ask, daemon=True).start()  # a name look-up has no time limit of its own
    try:
        return answer.get(timeout=PATIENCE)
    except queue.Empty:
        return False


def download() -> Path:
    """Bring GPT-2 Small from the hub, with a progress bar, and return its folder. What arrived before is kept.

    Raises ConnectionError, with what to do, where the hub does not deliver all of it, or hardly anything in STALLED
    seconds.
    """
    complaint = _run_download()
    folder = None if complaint else cached_folder()
    if folder is None:
        raise ConnectionError(
            f"GPT-2 Small: expected to download {REPOSITORY} (about {MEGABYTES} MB), but the hub did not deliver it"
            f' ({complaint or "what arrived is not whole"}). load("mini") needs no network.\n{AFTER_A_BROKEN_DOWNLOAD}'
        )
    return folder


def _run_download():
    """Run the hub's client until it is done; return what went wrong, or "" ."""
    what: dict[str, object] = {"repo_id": REPOSITORY, "revision": REVISION}
    what |= {"cache_dir": str(constants.HF_HUB_CACHE), "endpoint": constants.ENDPOINT, "etag_timeout": STALLED}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-c", DOWNLOAD, json.dumps(FILES), json.dumps(what)],
            stdout=said,
            stderr=said,
            env={**os.environ, **quiet},
        )
        try:
            too_slow = _watch(process, said)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if too_slow or process.returncode:
        return ": ".join(filter(None, [too_slow, lines[-1].strip() if len(lines) > 1 else ""])) or "it was stopped"
    return ""


def _watch(process, said):
    """Show what arrives until the process ends, and return ""; or, sooner, the words for what is too slow."""
    arrived, since, limit = _bytes_here(), time.monotonic(), LONGEST_START
    seen = arrived
    with tqdm(total=MEGABYTES * 10**6, unit="B", unit_scale=True, desc="GPT-2 Small") as bar:
        while process.poll() is None:
            time.sleep(0.1)
            here, now = _bytes_here(), time.monotonic()
            bar.update(max(here - seen, 0))
            seen = here
            if limit == LONGEST_START and os.fstat(said.fileno()).st_size:  # it said that it started
                since, limit = now, STALLED
            if now - since > limit:
                if seen - arrived < LEAST_SPEED * (now - since):
                    return f"{(seen - arrived) / 1000:.0f} kB in {now - since:.0f} seconds"
                arrived, since = seen, now
    return ""


def _bytes_here():
    """How much of GPT-2 Small lies in the hub's cache, half files included."""
    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=REPOSITORY, repo_type="model"))
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # gone since: the client renames what is whole
            total += 0 if path.is_symlink() else path.stat().st_size
    return total


def _is_whole(path):
    """Whether a cached file holds the bytes of which the hub told the sum; the cache names it by that sum.

    The SHA-256 sum for large files, git's SHA-1 for small ones. Where the cache has no such names (no links on the
    disk) this cannot be said, and the file counts as whole.
    """
    path = path.resolve()
    if re.fullmatch("[0-9a-f]{64}", path.name):
        totals = [hashlib.sha256()]
    elif re.fullmatch("[0-9a-f]{40}", path.name):  # git's sum begins with the size; some mirrors give the plain one
        totals = [hashlib.sha1(start, usedforsecurity=False) for start in (b"blob %d\0" % path.stat().st_size, b"")]
    else:
        return True
    with path.open("rb") as file:
        while block := file.read(2**20):
            for total in totals:
                total.update(block)
    return path.name in [total.hexdigest() for total in totals]
