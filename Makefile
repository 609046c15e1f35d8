# SPDX-License-Identifier: AGPL-3.0-or-later
# Each target makes what it needs: nothing but Python has to be installed.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# A coverage gate whose report is shortened by a pipe must still fail.
.SHELLFLAGS := -o pipefail -c

# The first of these that runs; name another with make PYTHON=...
PYTHON ?= $(shell for candidate in python3.12 python3.11 python3; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$candidate; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
TESTS := tests
DATABASE_TESTS := $(addprefix tests/test_channel_integrations/test_integrated_channel/test_,delivery.py disclosures.py endpoint_health.py \
	enrichment.py enrollments.py erasure.py erasure_twice_at_once.py final_number.py held.py incumbent_foreign_keys.py incumbent_import.py leases.py \
	reencryption.py region_routing.py replay_and_backfill.py retention.py sweep.py upgrade.py webhook_handlers.py webhook_learning_time_integration.py)
# A shim of pyenv answers for the selected version alone; tox needs two at once.
PYENV_PYTHONS := $(shell ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[12].*/bin 2>/dev/null | tr '\n' ':')
MIGRATIONS := channel_integrations/integrated_channel/migrations
PREVIOUS ?=
BROKER ?=
KEEP ?=
DAYS ?=
SCENARIOS ?=
QUICK ?=

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: requirements/test.txt requirements/mariadb.txt setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements/test.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip install --quiet --requirement requirements/mariadb.txt || \
		echo "mysqlclient cannot be built (Debian: apt-get install libmariadb-dev pkg-config gcc): tests on MariaDB are left out"
	touch $@

$(VENV)/quality: $(VENV)/installed requirements/quality.txt
	$(BIN)/python -m pip install --quiet --requirement requirements/quality.txt
	touch $@

$(VENV)/bench: $(VENV)/installed requirements/bench.txt
	$(BIN)/python -m pip install --quiet --requirement requirements/bench.txt
	touch $@

# Tutor, without pip: small, and apart from what the LMS pins.
$(VENV)/tutor/installed: $(VENV)/installed requirements/tutor.in requirements/tutor.txt requirements/tutor-21.txt
	$(PYTHON) -m venv --clear --without-pip $(VENV)/tutor
	$(BIN)/python -m pip --python $(VENV)/tutor/bin/python install --quiet --no-deps \
		--constraint requirements/tutor.txt --requirement requirements/tutor.in
	$(BIN)/python -m pip install --quiet --no-deps --target $(VENV)/tutor/21 --requirement requirements/tutor-21.txt
	touch $@

install: $(VENV)/installed ## make the virtual environment

# The snippets for partners are checked with a library from npm as well, where there is an npm.
tests/partners/node_modules: tests/partners/package.json
	@if command -v npm >/dev/null; then npm install --silent --no-package-lock --no-audit --no-fund --prefix tests/partners; fi
	@mkdir -p $@ && touch $@

# What judges the pages' accessibility, in a browser.
tests/accessibility/node_modules: tests/accessibility/package.json
	@if command -v npm >/dev/null; then npm install --silent --no-package-lock --no-audit --no-fund --prefix tests/accessibility; fi
	@mkdir -p $@ && touch $@

accessibility: tests/accessibility/node_modules ## install what judges the pages' accessibility

partners: tests/partners/node_modules ## install what checks the partners' snippets

tutor: $(VENV)/tutor/installed ## install Tutor, with which the Tutor plugin is tested

test: $(VENV)/bench $(VENV)/tutor/installed tests/partners/node_modules tests/accessibility/node_modules ## run every test but chaos, on real servers where they are installed
	$(BIN)/python -m pytest -m "not chaos" --cov --cov-report= $(TESTS)
	$(BIN)/python -m coverage report --fail-under=90
	@$(BIN)/python -m coverage report --include='*/snowflake_client.py' --fail-under=94 | tail -1
	@$(BIN)/python -m coverage report --include='*/handlers.py' --fail-under=96 | tail -1

test-databases: $(VENV)/installed ## leases and deliveries on PostgreSQL and SQLite, too
	for database in postgresql sqlite; do TEST_DATABASE=$$database $(BIN)/python -m pytest -q $(DATABASE_TESTS) || exit 1; done

# The code of that revision, with the migrations of this one: seven minutes, before a release.
previous: $(VENV)/installed ## run an earlier release on the schema of this one: make previous PREVIOUS=v0.1.0
	@test -n "$(PREVIOUS)" || { echo "Say which revision: make previous PREVIOUS=v0.1.0"; exit 1; }
	rm -rf .previous && mkdir .previous && git archive $(PREVIOUS) | tar -x -C .previous
	cp $(MIGRATIONS)/*.py .previous/$(MIGRATIONS)
	cd .previous && ../$(BIN)/python -m pytest -q -m "not chaos and not node" -k "not migrations_make_the_models" tests/test_channel_integrations

chaos: $(VENV)/installed ## kill workers, broker and database under load; six minutes
	$(BIN)/python -m pytest -m chaos $(TESTS)

quality: $(VENV)/quality ## lint, types, PII annotations, migrations, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run channel_webhooks
	DJANGO_SETTINGS_MODULE=test_settings $(BIN)/code_annotations django_find_annotations \
		--config_file .pii_annotations.yml --app_name channel_integrations.integrated_channel --lint --report --coverage
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html

references: $(VENV)/installed ## write the reference pages anew, from the code
	$(BIN)/python -m docs.generate

docs: $(VENV)/quality ## build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

screenshots: $(VENV)/installed ## take the documentation's pictures of the admin anew, in chromium
	$(BIN)/python -m docs.screenshots

demo: $(VENV)/installed ## show the whole thing: make demo [BROKER=redis://...] [KEEP=1] [DAYS=2]
	BROKER=$(BROKER) KEEP=$(KEEP) DAYS=$(DAYS) $(BIN)/python -m demo

bench: $(VENV)/bench ## measure: make bench [SCENARIOS="burst idle"] [QUICK=1]; ten minutes
	$(BIN)/python -m benchmarks $(SCENARIOS) $(if $(filter-out 0,$(QUICK)),--quick)

tox: $(VENV)/installed ## both ends of the matrix
	$(BIN)/python -m pip install --quiet --requirement requirements/tox.txt
	PATH="$(PYENV_PYTHONS)$$PATH" $(BIN)/tox

requirements: ## compile the pins anew (on Python 3.11, the oldest supported)
	python3.11 -m venv .venv-pins && .venv-pins/bin/pip install --quiet pip-tools
	cd requirements && for name in test mariadb quality bench tox tutor; do CUSTOM_COMPILE_COMMAND="make requirements" \
		../.venv-pins/bin/pip-compile --upgrade --quiet --strip-extras --allow-unsafe --no-annotate --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --output-file $$name.txt $$name.in; done

clean: ## remove what the other targets made
	rm -rf $(VENV) .venv-pins .previous .tox .coverage docs/_build demo/.run tests/partners/node_modules tests/accessibility/node_modules \
		build dist *.egg-info pii_report

# tutor is the plugin's folder, too
.PHONY: help install accessibility partners tutor screenshots test test-databases previous chaos quality references docs demo bench tox requirements clean
