# The course's commands. Each sets up what it needs: a virtual environment in .venv, once.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN = $(VENV)/bin
READY = $(VENV)/ready
# Without a network every notebook runs on the embedded model; AERO_MODEL=gpt2 asks for GPT-2 Small.
AERO_MODEL ?= mini
STUDENT = $(wildcard notebooks/*.ipynb)

.PHONY: lesson lab test editions outputs clean

lesson: $(READY) ## run all notebooks, write pages with all figures to build/lesson
	AERO_MODEL=$(AERO_MODEL) $(BIN)/python notebooks/make_lesson.py

lab: $(READY) ## JupyterLab at notebooks/
	$(BIN)/jupyter lab --notebook-dir notebooks

test: $(READY) ## linter, unit tests, real-data tests, every notebook executed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	AERO_MODEL=mini $(BIN)/pytest -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout 300 \
		tests notebooks/instructor $(STUDENT)

editions: $(READY) ## write the student notebooks and the Colab badges from the instructor edition
	$(BIN)/python notebooks/make_editions.py

outputs: $(READY) ## run the instructor edition and keep its outputs
	AERO_MODEL=mini $(BIN)/jupyter nbconvert --to notebook --execute --inplace \
		--ExecutePreprocessor.record_timing=False notebooks/instructor/*.ipynb

clean:
	rm -rf build $(VENV)

$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): two to four minutes, once"
	$(BIN)/pip install --progress-bar off --constraint $(CONSTRAINTS) --editable ".[test]"
	touch $@
