# The commands of a developer; `make help` lists them. Everything runs from .venv, made by `make setup`.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup demo demo-add test test-long fuzz lint lint-nf-core bench lock baselines images bundle test-containers test-executors clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## */\1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup:  ## make .venv: Python packages, Java, Nextflow (PYTHON=/path/to/python3 to choose one)
	@tools/setup.sh

demo: setup  ## run the pipeline on the example slices
	nextflow run . -profile test --outdir results/demo --overwrite
	@echo; ls -1 "$(CURDIR)/results/demo/"{integrated.h5ad,report.html}

demo-add: setup  ## map one of the example slices onto the model of the others
	nextflow run . -profile test --input assets/demo/known.csv --outdir results/known --overwrite
	nextflow run . -profile test --input assets/demo/new.csv --add_to results/known --outdir results/added --overwrite
	@echo; ls -1 "$(CURDIR)/results/added/"{integrated.h5ad,report.html}

test: setup  ## run the tests (ARGS='-m "not pipeline"' for those without Nextflow)
	pytest -n 2 $(ARGS)

test-long: setup  ## run all tests, the long ones too
	pytest -n 2 -m "" $(ARGS)

fuzz: setup  ## run the commands on thousands of spoilt files (ARGS="--cases 20000 --jobs 4")
	PYTHONPATH=bin:tests python -m fuzzing $(ARGS)

lint: setup  ## check the style of the Python code, its structure and the syntax of the pipeline
	ruff check .
	ruff format --check .
	PYTHONPATH=bin lint-imports --no-cache
	tools/nextflow_lint.sh

lint-nf-core: setup  ## look at the pipeline with nf-core's eyes (its tools, 220 MB, at the first call)
	@tools/nf_core_lint.sh

NEED_SLICES = $(addprefix benchmarks/,domains.py metagenes.py niches.py)# labelled ones, by options
bench: setup  ## measure speed and quality on the embedded slices; prints tables
	@set -e; for script in $(filter-out $(NEED_SLICES),$(wildcard benchmarks/*.py)); do echo "== $$script"; python "$$script"; done

lock: setup  ## renew the locks from pyproject.toml (ARGS=--upgrade for the newest versions)
	tools/lock.sh $(ARGS)

baselines: setup  ## make the environments of the benchmark's baselines (ARGS=harmony for one)
	tools/baselines.sh $(ARGS)

images:  ## build container images with docker or podman (ARGS="--stand-in core harmony", see tools/images.sh)
	@tools/images.sh $(ARGS)

bundle: setup  ## pack all that a machine without a network needs (ARGS=--images for the images too)
	@tools/bundle.sh $(ARGS)

test-containers: setup  ## run the demo in the images, without network (needs root and podman)
	@tools/test_containers.sh $(ARGS)

test-executors: setup  ## run the demo on a Slurm of one node, and jobs that are stopped (needs root and Debian)
	@command -v slurmctld slurmd munged >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null; }
	SLURM_NODE=yes pytest tests/executors $(ARGS)

clean:  ## remove results, work folders and caches (.venv stays)
	rm -rf results work .nextflow .nextflow.log* .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
