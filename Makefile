# Every target works on a fresh machine: it makes its own environment, once. No compiler is needed.
PYTHON ?= python3
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_NO_INPUT = 1
export PIP_ROOT_USER_ACTION = ignore
# One process for each core, up to four; tests start processes of their own.
PYTEST = -m pytest -n auto --maxprocesses 4 --dist worksteal --durations 15

.DEFAULT_GOAL := help
.PHONY: help env demo test test-classic lint bench tables docs dist clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
	@echo 'PYTHON=/path/to/python3.x chooses the interpreter of the environments (now: $(PYTHON)).'

env: .venv/.installed  ## Make the environment of the current stack, .venv: four minutes

demo: .venv/.installed  ## Pre-train and probe on embedded images; writes work_dirs/demo/report.html
	.venv/bin/python tools/demo.py

test: .venv/.installed  ## Run all tests on the current stack (requirements/current.txt)
	.venv/bin/python $(PYTEST)

test-classic: .venv-classic/.installed  ## Run all tests on the last releases by OpenMMLab (requirements/classic.txt)
	.venv-classic/bin/python $(PYTEST)

lint: .venv/.installed  ## Check style, formatting and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/basedpyright --project pyproject.toml --pythonpath .venv/bin/python
	@# The hooks see what git tracks, so there is nothing for them in an unpacked archive.
	@if git rev-parse --git-dir > /dev/null 2>&1; then \
	    PATH="$(CURDIR)/.venv/bin:$$PATH" SKIP=ruff,ruff-format,pyright .venv/bin/pre-commit run --all-files; fi

bench: .venv/.installed  ## Compare speed and memory of MAE, AEMIM and its presets: five minutes; writes a record to results/
	.venv/bin/python tools/analysis_tools/benchmark.py --record results/benchmark_vit-b.json

tables: .venv/.installed  ## Write tables and charts of README.md and docs/ from results/, and configs/README.md
	.venv/bin/python tools/misc/make_tables.py

docs: .venv/.docs  ## Build the documentation's site, build/site/html/index.html; a broken link is an error
	.venv/bin/python tools/misc/make_site.py

dist:  ## Build wheel and sdist into dist/, and try the wheel in clean environments of both stacks: ten minutes
	@tools/misc/check_release.sh '$(PYTHON)'

clean:  ## Remove environments, caches and build products (never work_dirs)
	rm -rf .venv .venv-classic .venv*.incomplete build dist *.egg-info aemim_mm/.mim .pytest_cache .ruff_cache .hypothesis
	find aemim_mm configs tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: requirements/current.txt setup.py
	@tools/misc/make_env.sh '$(PYTHON)' .venv requirements/current.txt '3.10 3.11 3.12'

.venv/.docs: .venv/.installed
	.venv/bin/python -m pip install -q -e '.[docs]'
	@touch .venv/.docs

.venv-classic/.installed: requirements/classic.txt setup.py
	@tools/misc/make_env.sh '$(PYTHON)' .venv-classic requirements/classic.txt '3.10 3.11'
