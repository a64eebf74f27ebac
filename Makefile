# Two commands: `make study` regenerates every table and figure, `make test` checks everything. Both set up .venv first.
PYTHON ?= python3
PROFILE ?= pocket
SEEDS ?=
ONLY ?=
JOBS ?=
DRY_RUN ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SITE_READY := $(VENV)/.site-ready
BROWSER_READY := $(VENV)/.browser-ready

.PHONY: study test test-browser verify lint lab report clean

study: $(READY)
	$(BIN)/python -m lib.run_notebooks --profile $(PROFILE) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(ONLY),--only $(ONLY)) $(if $(SEEDS),-p n_seeds $(SEEDS)) $(if $(DRY_RUN),--dry-run)

# As many tests at a time as there are cores, at most four; the tests of one file stay together, for they share models.
test: lint
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "not slow and not notebooks and not browser"
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m "notebooks and not slow"

# JupyterLab and the report in headless Chromium (Debian's package chromium); without a browser its tests are skipped, and say so.
test-browser: $(BROWSER_READY)
	$(BIN)/python -m pytest -m browser -rs tests/browser

# Regenerates the tables that the profile's manifest lists, elsewhere, and compares them with the committed ones.
verify: $(READY)
	$(BIN)/python -m lib.verify --profile $(PROFILE) $(if $(ONLY),--only $(ONLY))

lint: $(READY)
	$(BIN)/ruff check lib tests notebooks
	$(BIN)/ruff format --check lib tests notebooks
	$(BIN)/mypy

lab: $(READY)
	$(BIN)/jupyter lab notebooks

# A static site from the executed notebooks, in data/site/; runs the study first if nothing was executed.
report: $(SITE_READY)
	$(BIN)/python -m lib.site --profile $(PROFILE)

clean:
	rm -rf data/cache data/executed data/explored data/site .pytest_cache .ruff_cache .mypy_cache

# Re-made only when requirements.txt (or the package's own metadata) changed.
$(READY): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
	touch $@

$(SITE_READY): requirements-site.txt $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-site.txt
	touch $@

$(BROWSER_READY): requirements-browser.txt $(SITE_READY)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-browser.txt
	touch $@
