"""The recipe of docs/cluster.md, run as it stands there, on two workers of which one is killed."""

import os
import re
import signal
import threading
import time

import numpy as np
import pytest
from conftest import ROOT
from dask.distributed import Client

import aero_helpers as aero


def recipe(name):
    """The names that the first block of code of a page defines."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.DOTALL).group(1)
    defined = {}
    exec(block, defined)
    return block, defined


def kill_the_first_at_work(client, killed):
    pids = client.run(os.getpid)
    while not killed:
        busy = [address for address, tasks in client.processing().items() if tasks]
        if busy and time.sleep(0.2) is None and client.processing()[busy[0]]:
            killed.append((pids[busy[0]], sum(map(len, client.processing().values()))))
            os.kill(pids[busy[0]], signal.SIGKILL)
        time.sleep(0.01)


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers keep their scratch files here
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client


def test_the_same_table_as_in_one_process_though_a_worker_dies(client, mini):
    scenes = [scene.text for scene in aero.read_scenes()]
    texts = [text for i in range(24) for text in scenes[i % 16 :] + scenes[: i % 16]]  # 384, in six parts that differ
    killed = []
    threading.Thread(target=kill_the_first_at_work, args=(client, killed), daemon=True).start()
    found = recipe("cluster.md")[1]["profile_on"](client, texts, "mini", size=64)
    (pid, unfinished), whole = killed[0], aero.profile(mini, texts)
    assert unfinished >= 1 and pid not in client.run(os.getpid).values()
    assert np.array_equal(found.counts, whole.counts) and np.array_equal(found.exponent, whole.exponent)
    assert np.allclose(found.table(), whole.table(), atol=1e-5)
    assert np.abs(found.histogram - whole.histogram).sum() <= 1e-4 * whole.histogram.sum()


def test_both_languages_show_the_same_recipe():
    assert recipe("cluster.md")[0] == recipe("cluster.vi.md")[0]
