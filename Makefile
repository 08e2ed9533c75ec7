# Needs Python 3.11 or newer, make and git; everything else it installs into .venv, from hash-locked files.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTHON_SOURCES := enrow_source pipelines tests benchmarks docs/generate notebooks/demo_data.py
DOCS_READY := .venv-docs/.ready
DBT := .venv-dbt/bin
DBT_READY := .venv-dbt/.ready
ANALYSIS := demo/analysis.duckdb
# What needs an environment of its own, which takes minutes to make.
OWN_ENVIRONMENT := tests/analysis tests/buckets tests/documentation/test_site.py tests/orchestration

# uv asks the index that pip is configured with and trusts what the system trusts, so a company's mirror works.
PIP_INDEX = $(BIN)/pip config list | sed -n "s/^[^ ]*\.index-url='\(.*\)'$$/\1/p" | head -n 1
UV = UV_SYSTEM_CERTS=true UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$($(PIP_INDEX))}" $(BIN)/uv pip
LOCK = $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	--no-strip-extras --no-emit-index-url

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format bench chaos fuzz soak dbt reference docs lock cassettes notebook clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Create .venv with the locked environment (the other targets do it when needed)

$(READY): requirements/uv.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is missing or older than Python 3.11: name another one with make PYTHON=..." >&2; exit 1; }
	@echo "Setting up .venv from requirements/ ..."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(UV) install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(UV) install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Load a simulated bulk search into DuckDB: no key, no account
	$(BIN)/enrow demo

# Each of three processes takes a third of the tests in their order, so what the tests of a file share is made once, and
# helps the others at the end; where whole files are dealt, one process waits for the longest of them. Three on two cores,
# since tests wait a quarter of their time, for time limits and servers.
PYTEST := $(BIN)/pytest -q -n 3 --dist worksteal $(OWN_ENVIRONMENT:%=--ignore=%)

test: $(READY) ## Run the tests
	$(PYTEST) -m "not slow"

test-all: test $(DBT_READY) $(DOCS_READY) ## Run also what is slow: SQL models, analysis page, site, orchestrators, every destination
	$(PYTEST) -m slow
	$(BIN)/pytest -q tests/analysis tests/documentation/test_site.py
	$(BIN)/python -m tests.buckets
	$(BIN)/pytest -q tests/orchestration
	$(BIN)/python -m tests.destinations

lint: $(READY) ## Check style, security rules, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PYTHON_SOURCES)
	$(BIN)/lint-imports

format: $(READY) ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(READY) ## Measure the source beside what a user would write instead (25 minutes); WORKLOADS="..." takes these alone
	$(BIN)/python -m benchmarks $(if $(WORKLOADS),--only $(WORKLOADS))
	$(BIN)/python -m benchmarks.profile
	$(BIN)/python -m benchmarks.page

chaos: $(READY) ## Kill 200 runs that load and 200 that submit on each destination, and compare (2 hours)
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos.submit

fuzz: $(READY) ## Feed the parser with malformed responses for two minutes
	$(BIN)/python -m tests.fuzz

soak: $(READY) ## Run 200,000 ids with every kind of error among them
	$(BIN)/python -m tests.soak

# Environments of their own, .venv-<name> from requirements/<name>.txt; a copy of the lock is the mark, so that the tests
# can tell whether one is made from it.
.venv-%/.ready: requirements/%.txt | $(READY)
	@echo "Setting up .venv-$* from $< ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-$*
	@$(UV) install --quiet --python .venv-$*/bin/python --require-hashes -r $<
	@cp $< $@

dbt: $(DBT_READY) ## Build the SQL models on warehouse.duckdb; ENROW_WAREHOUSE=FILE names another one
	@test -f "$${ENROW_WAREHOUSE:-warehouse.duckdb}" || \
		{ echo "warehouse.duckdb is missing: load one first, or name a file with ENROW_WAREHOUSE=FILE" >&2; exit 1; }
	ENROW_WAREHOUSE="$$(realpath "$${ENROW_WAREHOUSE:-warehouse.duckdb}")" $(DBT)/dbt build --project-dir dbt --profiles-dir dbt

reference: $(READY) ## Rewrite docs/reference from the code
	$(BIN)/python -m docs.generate

$(DOCS_READY): requirements/docs.txt | $(READY)
	@echo "Setting up .venv-docs from requirements/docs.txt ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-docs
	@$(UV) install --quiet --python .venv-docs/bin/python --require-hashes -r requirements/docs.txt
	@touch $@

docs: reference $(DOCS_READY) ## Build the documentation site in build/docs/site: it needs no network
	.venv-docs/bin/python docs/generate/site.py

lock: $(READY) ## Rewrite requirements/ with the newest versions that pyproject.toml allows
	echo uv | $(LOCK) --upgrade --no-annotate - --output-file requirements/uv.txt
	$(LOCK) --upgrade pyproject.toml --extra notebook --group dev --output-file requirements/dev.txt
	$(LOCK) --upgrade --no-annotate pyproject.toml --extra postgres --constraints requirements/dev.txt \
		--output-file requirements/bench.txt
	echo hatchling | $(LOCK) --upgrade --no-annotate pyproject.toml - --extra postgres --extra sql \
		--constraints requirements/dev.txt --output-file requirements/image.txt
	cp requirements/bench.txt requirements/bench-duckdb2.txt
	echo 'duckdb>=2,<3' | $(LOCK) --no-annotate pyproject.toml --extra postgres --overrides - \
		--output-file requirements/bench-duckdb2.txt
	printf '%s\n' 'dbt-core==1.11.*' dbt-duckdb dbt-postgres dbt-snowflake dbt-bigquery 'duckdb>=1.5,<2' | \
		$(LOCK) --upgrade --no-annotate - --output-file requirements/dbt.txt
	printf '%s\n' 'dagster==1.13.*' dagster-webserver 'dlt[deltalake,postgres]==1.31.0' duckdb==1.5.5 duckdb-extensions \
		duckdb-extension-delta==1.5.5 | $(LOCK) --upgrade --no-annotate pyproject.toml --extra dask - \
		--output-file requirements/orchestration.txt
	printf '%s\n' 'apache-airflow-core==3.3.*' apache-airflow-providers-standard 'dlt[postgres]' | \
		$(LOCK) --upgrade --no-annotate pyproject.toml --constraints requirements/dev.txt - \
		--output-file requirements/airflow.txt
	printf '%s\n' zensical mmdr | $(LOCK) --upgrade --no-annotate - --output-file requirements/docs.txt

cassettes: $(READY) ## Remake the tests' cassettes; with ENROW_API_KEY and BATCH_IDS="...", record live ones
	$(BIN)/python -m tests.cassettes.record $(BATCH_IDS)

# The models name the file in their views, so it is made under its own name, and moved when it is whole.
$(ANALYSIS): | $(DBT_READY)
	@rm -rf $(@D)/unfinished
	$(BIN)/python -m notebooks.demo_data $(@D)/unfinished/$(@F)
	ENROW_WAREHOUSE="$$(realpath $(@D)/unfinished/$(@F))" $(DBT)/dbt --quiet build --project-dir dbt --profiles-dir dbt
	@mv $(@D)/unfinished/$(@F) $@ && rmdir $(@D)/unfinished

notebook: $(READY) $(if $(ENROW_WAREHOUSE),,$(ANALYSIS)) ## Open the analysis page on made-up data; ENROW_WAREHOUSE=FILE names a built warehouse
	ENROW_WAREHOUSE="$${ENROW_WAREHOUSE:-$(ANALYSIS)}" $(BIN)/marimo run notebooks/phone_bulk_analysis.py

clean: ## Remove .venv, caches and builds (no data)
	rm -rf .venv .venv-* dbt/target dbt/logs build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
