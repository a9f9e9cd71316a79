# Everyday commands and experiments. `make` alone lists them.
CARGO      ?= cargo
PYTHON     ?= python3
TARGET     := $(abspath $(or $(CARGO_TARGET_DIR),target))
PIPELINE   := $(TARGET)/release/pft-pipeline
PFT_VENV   ?= .venv
VENV       := $(abspath $(PFT_VENV))
PIPELINES  := $(basename $(notdir $(wildcard pipelines/*.yml)))
# Options of a pipeline's run, as in `make echr-dp8 ARGS="--set model.max_steps=100"`.
ARGS       ?=

.PHONY: help demo test models build bench lint fmt python clean-store $(PIPELINES)

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo "and a target for each pipeline:" $(PIPELINES)

demo: models build ## Fetches the model, builds, and trains with differential privacy (ε = 8)
	$(PIPELINE) run pipelines/echr-dp8.yml $(ARGS)

models: ## Fetches the model files that the default configs use
	sh data/fetch-models.sh

build: ## Builds every binary
	$(CARGO) build --release --workspace --bins

test: models build python ## Runs all tests
	PFT_PYTHON=$(VENV)/bin/python $(CARGO) test --release --workspace

bench: ## Times training steps and generation on the shapes of the README's peers
	$(CARGO) run --release -p pft-lm --example step_bench -- w1 w3
	$(CARGO) run --release -p pft-lm --example generate_bench

lint: ## Formatting, clippy and documentation, all without a warning
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps

fmt: ## Formats the code
	$(CARGO) fmt --all

python: $(VENV)/.installed ## The Python packages that tests compare with

$(VENV)/.installed: tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(PIPELINES): models build
	$(PIPELINE) run pipelines/$@.yml $(ARGS)

clean-store: ## Removes the store of artifacts
	chmod -R u+w .pft 2>/dev/null || true
	rm -rf .pft
