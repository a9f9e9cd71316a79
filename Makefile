# Everyday commands and experiments. `make` alone lists them.
CARGO      ?= cargo
PYTHON     ?= python3
# Relative paths: make would cut one with spaces above this folder in two.
TARGET     := $(or $(CARGO_TARGET_DIR),target)
PIPELINE   := $(TARGET)/release/pft-pipeline
PFT_VENV   ?= .venv
VENV       := $(PFT_VENV)
PIPELINES  := $(basename $(notdir $(wildcard pipelines/*.yml)))
# Options of a pipeline's run, as in `make echr-dp8 ARGS="--set model.max_steps=100"`.
ARGS       ?=

.PHONY: help demo test test-kills models gemma build bench bench-train bench-generate bench-tag bench-tokenize bench-runner bench-scale lint fuzz-check fmt python clean-store $(PIPELINES)

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
	@echo "and a target for each pipeline:" $(PIPELINES)

demo: models build ## Fetches the model, builds, and trains with differential privacy (ε = 8)
	$(PIPELINE) run pipelines/echr-dp8.yml $(ARGS)

models: ## Fetches the model files that the default configs use
	sh data/fetch-models.sh

gemma: ## Fetches Gemma 3 270M, which the Gemma Terms of Use bind
	sh data/fetch-gemma.sh

build: ## Builds every binary
	$(CARGO) build --locked --release --workspace --bins

test: models build python ## Runs all tests
	sh data/fetch-models.sh en_core_web_md
	PFT_PYTHON="$$(cd $(VENV) && pwd)/bin/python" $(CARGO) test --locked --release --workspace

test-kills: models build ## Kills runs at 300 moments, where `make test` does at 30; takes a while
	PFT_KILLS=300 $(CARGO) test --locked --release -p pft-tests --test runner killed_

# A bench is processes of its own beside its peers, which pip installs into an environment of the
# bench. Options of a bench, as in `make bench-train BENCH_ARGS="--works w1 --steps 1"`.
BENCH_ARGS ?=
BENCH      := $(TARGET)/bench
# A bench's environment, unless PFT_BENCH_TRAIN_PYTHON and so on name an interpreter to use instead.
venv        = $(if $(PFT_BENCH_$(shell echo $(1) | tr a-z A-Z)_PYTHON),,$(BENCH)/venv/$(1)/.installed)

bench: bench-train bench-generate bench-tag bench-tokenize bench-runner ## Times everything beside its peers; see benches/README.md
	$(PYTHON) -m benches.report

bench-train: $(call venv,train) ## Training steps beside PyTorch, peft, Opacus and fastDP
	$(CARGO) build --locked --release -p pft-lm -p train --examples
	$(PYTHON) -m benches.train $(BENCH_ARGS)

bench-generate: models $(call venv,generate) ## Generation beside llama.cpp
	$(CARGO) build --locked --release -p pft-lm --examples
	$(PYTHON) -m benches.generate $(BENCH_ARGS)

bench-tag: models $(call venv,tag) $(call venv,train) ## Tagging beside spaCy, Presidio and transformers
	$(CARGO) build --locked --release -p ingest -p tag-pii --bins
	$(PYTHON) -m benches.tag $(BENCH_ARGS)

bench-tokenize: models $(call venv,tokenize) ## Tokenizing beside datasets.map
	$(CARGO) build --locked --release -p ingest -p tokenize --bins
	$(PYTHON) -m benches.tokenize $(BENCH_ARGS)

bench-runner: models build $(call venv,runner) ## A pipeline with nothing to do beside Snakemake
	$(PYTHON) -m benches.runner $(BENCH_ARGS)

bench-scale: models $(call venv,tokenize) ## The stages without a model on 0.1, 1 and 5 GB of text
	$(CARGO) build --locked --release -p ingest -p scrub -p tokenize --bins
	$(PYTHON) -m benches.scale $(BENCH_ARGS)

$(BENCH)/venv/%/.installed: benches/%/requirements.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

lint: ## Formatting, clippy and documentation, all without a warning
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --release --workspace --no-deps

fuzz-check: ## Compiles the fuzz targets, without linking libFuzzer
	cp Cargo.lock fuzz/Cargo.lock
	$(CARGO) check --release --manifest-path fuzz/Cargo.toml --no-default-features

fmt: ## Formats the code
	$(CARGO) fmt --all

python: $(VENV)/.installed ## The Python packages that tests compare with

$(VENV)/.installed: tests/requirements.txt tests/requirements-transformers5.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	rm -rf $(VENV)/transformers5
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target $(VENV)/transformers5 -r tests/requirements-transformers5.txt
	touch $@

$(PIPELINES): models build
	$(PIPELINE) run pipelines/$@.yml $(ARGS)

clean-store: ## Removes the store of artifacts
	store="$${PFT_STORE:-.pft}"; chmod -R u+w "$$store" 2>/dev/null; rm -rf "$$store"
