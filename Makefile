# Every target works from a fresh clone: the first one to run makes .venv, and all of them reuse it.
# Another Python:          make setup PYTHON=python3.12
# More processes in tests: make test WORKERS=8
# Mutants of one module:   make mutants MUTANTS="minigpt4v.attention.*"

PYTHON ?= python3
WORKERS ?= 2
MUTANTS ?= *

ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
RUN := $(BIN)/python -m
READY := .venv/.ready
PIP_INSTALL := $(RUN) pip --disable-pip-version-check install -c constraints.txt
# The notebooks are run as by somebody who has solved nothing yet, whatever this learner has.
NO_PROGRESS := MINIGPT4V_PROGRESS="$(CURDIR)/build/no-progress.txt"
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))

.DEFAULT_GOAL := help
.PHONY: help setup demo lab test test-browser mutants notebooks book book-serve bench lint format data constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Make .venv with everything the course needs (once; a few minutes)

# The build tool comes first, so that a later edit of pyproject.toml installs without the network.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "minigpt4v needs Python 3.11 or newer, but $(PYTHON) is Python %d.%d. Name a newer one: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@$(RUN) pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) hatchling
	$(PIP_INSTALL) --no-build-isolation -e ".[course,dev,hf,onnx]"
	@$(RUN) book.live_model
	@touch $@

demo: $(READY) ## See the trained model answer, then watch a small one learn (2 minutes)
	$(RUN) minigpt4v.demo

lab: $(READY) ## Open the course in JupyterLab
	$(RUN) jupyterlab --config=lab/config.py

test: $(READY) ## Run every test and measure coverage; then run the notebooks and compare their outputs
	OMP_NUM_THREADS=1 $(RUN) pytest -n $(WORKERS) --dist loadfile --cov --cov-report=term
ifneq ($(NOTEBOOKS),)
	@mkdir -p build && rm -f build/no-progress.txt
	$(NO_PROGRESS) OMP_NUM_THREADS=1 $(RUN) pytest -n $(WORKERS) --dist loadfile \
		--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout=300 notebooks
endif
	@$(MAKE) --no-print-directory test-browser

test-browser: $(READY) ## Run the course and the book in a browser: every chapter, control and page
	OMP_NUM_THREADS=1 $(RUN) pytest -n $(WORKERS) --dist loadgroup -m browser tests/browser

# What a mutant changes: the same command with `show NAME` for `run`.
mutants: $(READY) ## Plant small faults in the core modules and list those that no test sees (an hour; network; no Windows)
	OMP_NUM_THREADS=1 $(BIN)/uv run --no-project --python $(BIN)/python --with mutmut==3.8.1 \
		mutmut run --max-children $(WORKERS) "$(MUTANTS)"

notebooks: $(READY) ## Execute every notebook again and save the outputs in place
ifeq ($(NOTEBOOKS),)
	@echo "There are no notebooks in notebooks/ yet: nothing to execute."
else
	@mkdir -p build && rm -f build/no-progress.txt
	$(NO_PROGRESS) $(RUN) nbconvert --to notebook --inplace \
		--execute --ExecutePreprocessor.record_timing=False $(NOTEBOOKS)
	$(RUN) nbconvert --to notebook --inplace --coalesce-streams --ClearMetadataPreprocessor.enabled=True \
		--ClearMetadataPreprocessor.clear_cell_metadata=False \
		--ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec \
		--ClearMetadataPreprocessor.preserve_nb_metadata_mask=language_info $(NOTEBOOKS)
endif

book: $(READY) ## Build the web book in build/book
	$(RUN) book.build

book-serve: book ## Build the web book and serve it on this machine
	$(RUN) http.server 3000 --bind 127.0.0.1 --directory build/book

bench: $(READY) ## Measure speed: short forms of every benchmark (minutes); the records go to bench/results
	$(RUN) bench

lint: $(READY) ## Check style, formatting and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: $(READY) ## Put the code and the notebooks into the house's format
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

data: $(READY) ## Build the committed data again from its named sources (needs the network)
	$(BIN)/python data/build.py

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --all-extras \
	--custom-compile-command "make constraints"

# hashes.txt: the same versions, each with the checksums of all its files, for `pip install --require-hashes`.
constraints: $(READY) ## Choose every version in constraints.txt anew, with hashes.txt (needs the network)
	$(RUN) $(COMPILE) --upgrade --output-file constraints.txt pyproject.toml
	@rm -f hashes.txt
	$(RUN) $(COMPILE) --generate-hashes --no-annotate --constraints constraints.txt --output-file hashes.txt pyproject.toml

clean: ## Remove what the other targets made, except .venv and your trained models
	rm -rf build dist htmlcov mutants demo.png .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
