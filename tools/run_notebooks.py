"""Run the instructor's notebooks: `python tools/run_notebooks.py [NAME …]` keeps their outputs (make outputs).

Each cell's outputs are in both languages; beside them, as metadata, stand the figures and tables in each one.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import nbformat
from make_editions import ROOT, SOURCE, read
from nbclient import NotebookClient

IN_EACH_LANGUAGE = f"""\
import sys
sys.path.insert(0, {str(ROOT / "tools")!r})
import two_languages
two_languages.install()"""


def run(path):
    """A notebook with the outputs that it has now. Raises nbclient's CellExecutionError where a cell fails."""
    notebook, since = read(path), time.perf_counter()
    settings = {"resources": {"metadata": {"path": path.parent}}, "extra_arguments": ["--IPKernelApp.log_level=40"]}
    client = NotebookClient(notebook, kernel_name="python3", record_timing=False, coalesce_streams=True, **settings)
    with client.setup_kernel():
        notebook.cells.insert(0, nbformat.v4.new_code_cell(IN_EACH_LANGUAGE))
        client.execute_cell(notebook.cells[0], 0, store_history=False)
        del notebook.cells[0]
        for i, cell in enumerate(notebook.cells):
            client.execute_cell(cell, i)
    print(f"{path.stem}: {time.perf_counter() - since:.0f} s", flush=True)
    return notebook


def run_all(paths):
    """{path: notebook that was run}, two at a time, each with one thread; the longest, which come last, first."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(reversed(paths), pool.map(run, reversed(paths))))


if __name__ == "__main__":
    chosen = [path for path in sorted(SOURCE.glob("*.ipynb")) if not sys.argv[1:] or path.stem in sys.argv[1:]]
    for path, notebook in run_all(chosen).items():
        nbformat.write(notebook, path)
