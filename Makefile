# Everything that people and CI run.  A target sets up what it needs; running it again does no work twice.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
NATIVE := CMakeLists.txt $(shell find native -type f 2>/dev/null)

export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo demo-agents demo-db demo-canary test lint native-check native-check-arm64 bench bench-vision bench-agents bench-db bench-canary agent-clis docs reference clean

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: $(VENV)/.user  ## Install, then ask the bundled model about the example pictures
	$(BIN)/python examples/demo.py

demo-agents: $(VENV)/.user  ## Two scripted agents at work: a message, diffs, conflict previews, a merge, a replay
	tools/system_packages bubblewrap tmux
	$(BIN)/python examples/agents/demo.py

demo-db: $(VENV)/.user  ## A shop's database: a branch, a proposed change, what it would do, approval, apply, drift refused
	$(BIN)/python examples/database/demo.py

demo-canary: $(VENV)/.user  ## Half a year of made-up logs in which an update made the agent worse: verdict and page
	$(BIN)/python examples/canary/demo.py

test: $(VENV)/.developer  ## Install with developer tools, then run every test
	$(BIN)/python -m pytest

lint: $(VENV)/.developer  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

native-check: $(VENV)/.cmake  ## Test the kernels alone, on every instruction set, with address and thread sanitizers
	PATH="$$PATH:$(CURDIR)/$(BIN)" tools/native_check

native-check-arm64: $(VENV)/.cmake  ## The same for arm64, on emulated processors (cross compiler and qemu)
	tools/system_packages g++-aarch64-linux-gnu qemu-user
	PATH="$$PATH:$(CURDIR)/$(BIN)" tools/native_check arm64

bench: $(VENV)/.developer  ## Speed: kernels, then time to first token (beside transformers where installed)
	$(BIN)/python -m bench.kernels
	$(BIN)/python -m bench.ask --sizes 256M

bench-vision: $(VENV)/.developer  ## The vision engine's numbers in one table, beside the peers that are installed
	$(BIN)/python -m bench.vision --sizes 256M,2.2B --json bench/results/vision.json

bench-agents: $(VENV)/.developer  ## Agents: starts (beside Podman and Docker where they work), clones, memory, messages, gateway
	$(BIN)/python -m bench.agents_start
	$(BIN)/python -m bench.agents_clone
	$(BIN)/python -m bench.agents_many
	$(BIN)/python -m bench.agents_gateway

bench-db: $(VENV)/.developer  ## Databases: branches, wake, catalog, masking, apply behind a long transaction
	$(BIN)/python -m bench.db_branches
	$(BIN)/python -m bench.db_catalog
	$(BIN)/python -m bench.db_masking
	$(BIN)/python -m bench.db_apply

bench-canary: $(VENV)/.developer  ## Canary: false alarms, power, causes, beside rivals' rules; cost; reading (beside ccusage)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.canary_quality --json bench/results/canary_quality.json
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.canary_scale --json bench/results/canary_scale.json
	npm install --silent --prefix build/ccusage ccusage@20.0.24 @ccusage/ccusage-linux-x64@20.0.24
	npm install --silent --prefix build/ccusage-18 ccusage@18.0.5
	$(BIN)/python -m bench.canary_reading --gigabytes 1 --json bench/results/canary_reading.json

agent-clis: $(VENV)/.developer  ## Install Claude Code, Codex, Gemini CLI and OpenCode (npm, 1.3 GB), and run them in the sandbox
	tools/agent_clis
	PATH="$(CURDIR)/build/agent-clis/node_modules/.bin:$$PATH" $(BIN)/python -m pytest tests/integration/agents/test_agent_clis.py

docs: $(VENV)/.user  ## Write docs/cli.md and docs/settings.md from the program
	$(BIN)/python -m seatrial.cli.reference docs

reference: $(VENV)/.reference  ## Compare live with transformers (installs the CPU build of torch)
	$(BIN)/python -m pytest tests/reference --run-reference

clean:  ## Remove the virtual environment and everything built
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.created: tools/system_packages
	tools/system_packages
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "pip>=25"
	touch $@

# `pip install -e` leaves Python files where they are; only these need a new build.
$(VENV)/.user: $(VENV)/.created pyproject.toml constraints.txt $(NATIVE)
	$(PIP) install --editable '.[vision,agents,database,canary]'
	touch $@

$(VENV)/.developer: $(VENV)/.user
	$(PIP) install --editable '.[dev]'
	tools/system_packages bubblewrap tmux
	@# The fonts that the recipe's pages are set in; without them its tests are skipped, with a reason.
	-tools/system_packages $$($(BIN)/python -m recipes.pico.fonts)
	touch $@

# Any CMake will do; the one that builds the package lives in an environment of its own.
$(VENV)/.cmake: $(VENV)/.created
	command -v cmake >/dev/null || $(PIP) install cmake
	touch $@

$(VENV)/.reference: $(VENV)/.developer
	$(PIP) install --editable '.[reference]'
	touch $@
