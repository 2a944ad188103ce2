# Two commands for a machine with Python (3.11-3.13), git and make:
#   make demo   environment, install, shipped models on digital patients, one of them adapted to a new scanner
#   make test   environment, install, every check that CI runs
# More for developers:
#   make docs      the documentation as a site that opens from disk: build/site/index.html
#   make lint      ruff, mypy, the import contract and the layout alone
#   make fast      tests without those that take long
#   make coverage  all tests, with the share of lines and branches that they reach, and its floor
#   make spawn     all tests with processes started as on Windows and macOS
#   make lock      resolve the dependencies of CI anew: .ci/lock.txt
#   make dist      wheel and sdist, built twice and compared byte by byte: dist/
#   make release-check  the wheel in an environment of its own, used without the repository
#   make sbom      CycloneDX list of all that comes with creps: build/creps.cdx.json
#   make licences  licences of all that comes with creps, refusing GPL: docs/reference/licences.md
#   make audit     known vulnerabilities of what the lock pins (asks the vulnerability service of PyPI)
# What they run, for machines without make, is in README.md.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   ?= demo

# A process for each core: most tests use one core, and torch's own threads would only get into each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test docs lint fast coverage spawn lock dist release-check sbom licences audit clean

demo: $(VENV)/installed
	$(BIN)/creps demo -o $(DEMO)

test: $(VENV)/installed-dev lint
	$(PYTEST)

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/layout.py src/creps

fast: $(VENV)/installed-dev
	$(PYTEST) -m 'not slow and not process'

coverage: $(VENV)/installed-dev
	$(PYTEST) --cov --cov-report=term:skip-covered --cov-report=html:build/coverage

spawn: $(VENV)/installed-dev
	CREPS_START_METHOD=spawn $(PYTEST)

lock: $(VENV)/installed-dev
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	  --custom-compile-command 'make lock' --extra dev pyproject.toml --output-file .ci/lock.txt

dist: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.release.build --output dist

release-check: dist
	$(BIN)/python -m benchmarks.release.install dist/*.whl

sbom: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.release.sbom --output build/creps.cdx.json

licences: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.release.licences --output docs/reference/licences.md

audit: $(VENV)/installed-dev
	$(BIN)/pip-audit --require-hashes --disable-pip --requirement .ci/lock.txt

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# The lock is complete and has a hash of every file, so pip resolves nothing: --no-deps. What users install is not locked.
$(VENV)/installed-dev: pyproject.toml .ci/lock.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement .ci/lock.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) $(DEMO) build dist .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
