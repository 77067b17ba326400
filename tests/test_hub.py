"""The lecture hall: a hub that fails in every way, played by a server on this machine."""

import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import aero_helpers as aero
from aero_helpers import hub, models

RESOLVE = f"/{hub.REPOSITORY}/resolve/{hub.REVISION}/"
PATIENCE = 10 + 2  # seconds in which a line must stand: two more for a machine that has other work


class Hub(ThreadingHTTPServer):
    """Serves {name: bytes} as the hub does; `fault` is what goes wrong: a status, or one of FAULTS."""

    daemon_threads = True

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.fault, self.sent, self.asked = files, None, 0, []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that went away


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        server, fault = self.server, self.server.fault
        server.asked.append((self.command, self.path))
        if fault == "silent":
            time.sleep(60)
        if isinstance(fault, int):
            return self.reply(fault, b"")
        name = self.path.removeprefix(RESOLVE)
        if name not in server.files:
            return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
        return self.send_file(name, server.files[name], fault, head)

    def send_file(self, name, content, fault, head):
        is_large = name.endswith(".safetensors")
        etag = hashlib.sha256(content) if is_large else hashlib.sha1(b"blob %d\0" % len(content) + content)
        headers = {"ETag": f'"{etag.hexdigest()}"', "X-Repo-Commit": hub.REVISION, "Accept-Ranges": "bytes"}
        if is_large:
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content))}
        if fault == "wrong bytes" and is_large:
            content = content[:-8] + bytes(8)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        if head or not is_large or fault not in ("cut", "truncated", "drip", "stall"):
            return self.reply(206 if start else 200, b"" if head else body, headers, len(body))
        self.reply(206 if start else 200, b"", headers, len(body))
        half = body[: len(body) // 2]
        if fault in ("cut", "truncated"):
            self.wfile.write(half)
        elif fault == "stall":
            self.wfile.write(half)
            time.sleep(60)
        else:
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(0.2)
        self.close_connection = True

    def reply(self, status, body, headers=None, length=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        self.server.sent += len(body)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, mini):
    """{name: bytes} of a small GPT-2 with the files of the hub's."""
    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    vocabulary = mini.model.config.vocab_size
    GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_positions=64, n_embd=16, n_layer=2, n_head=2)).save_pretrained(
        folder
    )
    tokenizer = (models.MINI_FOLDER / "tokenizer.json").read_bytes()
    parts = json.loads(tokenizer)["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in parts["merges"]]
    return {
        "config.json": (folder / "config.json").read_bytes(),
        "model.safetensors": (folder / "model.safetensors").read_bytes(),
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": (models.MINI_FOLDER / "tokenizer_config.json").read_bytes(),
        "vocab.json": json.dumps(parts["vocab"]).encode(),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]).encode(),
    }


@pytest.fixture
def server(checkpoint, tmp_path, monkeypatch):
    """The hub as this process and its children see it, and a cache of its own."""
    with Hub(checkpoint) as server:
        monkeypatch.delenv("AERO_MODEL", raising=False)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield server
        server.shutdown()


def test_auto_downloads_once_and_finds_it_the_next_time(server, capsys):
    lm = aero.load("auto")
    assert (lm.name, lm.n_layers, lm.n_heads) == ("gpt2", 2, 2)
    said = capsys.readouterr().out
    assert "550 MB" in said and said.count("%env AERO_MODEL=mini") == 2
    sent = server.sent
    server.fault = 500
    assert aero.load("auto").fingerprint == aero.load("gpt2").fingerprint == lm.fingerprint
    assert "đã có sẵn trên máy / already on this machine" in capsys.readouterr().out and server.sent == sent
    assert aero.load("untrained").name == "untrained gpt2"


def break_down(server, fault):
    """Let that go wrong, in the server or around it."""
    constants = huggingface_hub.constants
    if fault == "down":
        server.shutdown(), server.server_close()
    elif fault == "no such name":
        constants.ENDPOINT = "http://no-such-name.invalid"
    elif fault == "offline":
        constants.HF_HUB_OFFLINE = True
        os.environ["HF_HUB_OFFLINE"] = "1"
    elif fault == "read-only":
        constants.HF_HUB_CACHE = "/proc/cache"
    else:
        server.fault = fault


FAULTS = ["down", "no such name", "offline", "read-only", 403, 404, 429, 500, 503, "silent", "stall", "drip", "cut",
          "truncated", "wrong bytes"]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_hub_does_there_is_a_line_a_model_and_a_next_try(server, capsys, monkeypatch, tmp_path, fault):
    break_down(server, fault)
    if fault not in ("silent", "stall"):
        monkeypatch.setattr(hub, "STALLED", 2)  # for the tests' own time
    since = time.monotonic()
    assert aero.load("auto").name == "mini"
    assert time.monotonic() - since < PATIENCE
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("Mô hình / Model: mini (") and " / " in last
    since = time.monotonic()
    with pytest.raises(ConnectionError, match=r'expected to download .* load\("mini"\) needs no network'):
        aero.load("gpt2")
    assert time.monotonic() - since < PATIENCE
    if fault != "down":
        server.fault = None
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        assert aero.load("gpt2").n_layers == 2


def test_a_damaged_file_in_the_cache_is_brought_anew(server):
    fingerprint = aero.load("gpt2").fingerprint
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        path = (hub.cached_folder() / name).resolve()
        content = bytearray(path.read_bytes())
        content[-3] ^= 1
        path.write_bytes(content)
        assert hub.cached_folder() is None
        assert aero.load("gpt2").fingerprint == fingerprint


def test_a_file_that_is_missing_in_the_cache_is_brought(server):
    folder = aero.load("gpt2") and hub.cached_folder()
    for name in hub.FILES:
        (folder / name).unlink()
        assert hub.cached_folder() is None
        assert aero.load("gpt2").n_layers == 2


def test_two_processes_at_once(server):
    script = "import sys, huggingface_hub.constants as c; c.ENDPOINT, c.HF_HUB_CACHE = sys.argv[1:]\n"
    script += "import aero_helpers as aero; print(aero.load('gpt2').fingerprint)"
    where = server.url, huggingface_hub.constants.HF_HUB_CACHE
    runs = [subprocess.Popen([sys.executable, "-c", script, *where], stdout=subprocess.PIPE, text=True) for _ in "ab"]
    sums = {run.communicate(timeout=120)[0].split()[-1] for run in runs}
    assert sums == {aero.load("gpt2").fingerprint}


def test_ctrl_c_in_the_middle_of_a_download(server):
    server.fault = "stall"
    timer = threading.Timer(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        aero.load("gpt2")
    server.fault = None
    assert aero.load("gpt2").n_layers == 2


def test_a_disk_that_takes_no_more(server):
    """No file over 100 kB may be written, as on a full disk: the error says what the system said."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(ConnectionError, match="File too large"):
            aero.load("gpt2")
        assert aero.load("auto").name == "mini"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert aero.load("gpt2").n_layers == 2


def test_a_proxy_that_points_nowhere(server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    since = time.monotonic()
    assert aero.load("auto").name == "mini"
    with pytest.raises(ConnectionError, match="expected to download"):
        aero.load("gpt2")
    assert time.monotonic() - since < 2 * PATIENCE


def test_an_endpoint_that_is_no_address(server, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "no-scheme.example")
    assert not hub.answers()


def test_the_hub_is_asked_for_the_pinned_revision(server):
    assert hub.answers() and server.asked == [("HEAD", f"{RESOLVE}config.json")]


@pytest.mark.parametrize("encoding", ["cp1252", "cp1258", "ascii", "utf-8", "cp437", None])
def test_the_greeting_is_no_reason_to_stop(server, monkeypatch, encoding):
    server.fault = 503
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding or "utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal if encoding else None)
    assert aero.load("auto").name == "mini"
    assert encoding is None or b"Model: mini" in terminal.buffer.getvalue()
