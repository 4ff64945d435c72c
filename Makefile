# The commands of a developer; `make help` lists them. Everything runs from .venv, made by `make setup`.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)

VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGES ?= core torch bench
ENGINE ?= $(shell command -v docker || command -v podman)

.PHONY: help setup demo test fuzz lint bench lock baselines images clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup:  ## make .venv: Python packages, Java, Nextflow (PYTHON=/path/to/python3 to choose one)
	@tools/setup.sh

demo: setup  ## run the pipeline on the example slices
	nextflow run . -profile test --outdir results/demo
	@echo; ls -1 "$(CURDIR)/results/demo/"{integrated.h5ad,report.html}

test: setup  ## run all tests (ARGS='-m "not pipeline"' for those without Nextflow)
	pytest $(ARGS)

fuzz: setup  ## run the commands on thousands of spoilt files (ARGS="--cases 20000 --jobs 4")
	PYTHONPATH=bin:tests python -m fuzzing $(ARGS)

lint: setup  ## check the style of the Python code and the syntax of the pipeline
	ruff check .
	ruff format --check .
	tools/nextflow_lint.sh

bench: setup  ## measure speed and quality; prints tables
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; python "$$script"; done

lock: setup  ## renew the locks from pyproject.toml (ARGS=--upgrade for the newest versions)
	tools/lock.sh $(ARGS)

baselines: setup  ## make the environments of the benchmark's baselines (ARGS=harmony for one)
	tools/baselines.sh $(ARGS)

images:  ## build the container images with docker or podman (IMAGES="core harmony" for others)
	@test -n "$(ENGINE)" || { echo "error: neither docker nor podman found" >&2; exit 1; }
	@set -e; for image in $(IMAGES); do \
	  $(ENGINE) build $(BUILD_ARGS) --file containers/$$image/Containerfile \
	    --build-arg CORE_IMAGE=nf-lloki-core:$(VERSION) \
	    --build-arg TORCH_IMAGE=nf-lloki-torch:$(VERSION) --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$$(git rev-parse HEAD) --tag nf-lloki-$$image:$(VERSION) containers/$$image; \
	done

clean:  ## remove results, work folders and caches (.venv stays)
	rm -rf results work .nextflow .nextflow.log* .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
