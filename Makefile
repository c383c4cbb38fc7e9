# Everything that README quotes is made by a target of this file.
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help reference families gallery docs docs-serve demo notebooks story test contracts test-ray check gpu-hollow gpu-count gpu-check gpu-check-rehearsal lint types format tiny-base bench bench-gpu bench-processes bench-base bench-chat bench-choice bench-compare bench-data bench-start bench-sweep clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | column -t -s '|'

demo: $(VENV)/.installed  ## teach the embedded tiny base Chinese with NF4 QLoRA: about a minute, offline
	$(PY) -m anima_exp.train

notebooks: $(VENV)/.installed  ## run docs/notebooks/*.ipynb and store what they show: some minutes, offline
	$(PY) tests/support/notebooks.py docs/notebooks/*.ipynb

story: $(VENV)/.installed  ## base, two fine-tunes, answers, judge, Elo, one page: all of it in small, offline
	rm -rf story
	$(PY) -m anima_exp.generate questions=tiny_zh temperature=0 max_new_tokens=32 out=story/base.jsonl
	$(PY) -m anima_exp.train run_dir=story/attention lora=attention lora.rank=8 trainer.max_steps=100 $(MEASURE)
	$(PY) -m anima_exp.train run_dir=story/all_layers $(MEASURE)
	$(PY) -m anima_exp.judge judge=reference out=story/ratings \
	    answers=[story/base.jsonl,story/attention/answers.jsonl,story/all_layers/answers.jsonl]
	$(PY) -m anima_exp.elo story/ratings --html story/tournament.html --out story/ratings.json
	$(PY) -m anima_exp.compare story/attention story/all_layers --metric choices \
	    --ratings story/ratings.json --html story/report.html

MEASURE := evals=[heldout,exact_match,choices,answers] evals.answers.temperature=0 \
    evals.answers.max_new_tokens=32 trainer.eval_every=null tracking=none

test: $(VENV)/.installed  ## the fast tests, on all cores
	$(PY) -m pytest -n auto --dist loadscope

contracts: $(VENV)/.installed  ## what we use of libraries that they do not promise: does this release have it?
	$(PY) -m pytest tests/contracts

test-ray:  ## sweeps on a local Ray, in an environment of its own (Ray is 400 MB)
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip install --quiet --editable '.[dev,ray]'
	$(VENV)-ray/bin/python -m pytest -m slow -k ray tests/sweeping/test_launchers.py
	$(VENV)-ray/bin/python -m pytest tests/contracts/test_ray.py

# The newest CUDA build of torch, unless TORCH=... and TRANSFORMERS=... name versions. An environment
# that exists is used as it is: make gpu-hollow GPU_VENV=FOLDER.
GPU_VENV   ?= $(VENV)-gpu$(if $(TORCH),-torch$(TORCH))$(if $(TRANSFORMERS),-transformers$(TRANSFORMERS))
GPU_PY     := $(GPU_VENV)/bin/python
GPU_DRIVER ?= build/hollow/$(subst /,_,$(GPU_VENV))

gpu-hollow: $(GPU_DRIVER)/built  ## the whole product on a GPU that computes nothing: no card needed (ONLY="NAME ...", TORCH=, TRANSFORMERS=)
	$(GPU_PY) tests/gpu/hollow/run_cases.py --driver $(GPU_DRIVER) --out $(GPU_DRIVER)/runs $(if $(ONLY),--only $(ONLY))

gpu-count: $(GPU_DRIVER)/built  ## launches, waits and copies of a training step, against tests/gpu/counts.json (MODELS="7B 33B Qwen3-8B")
	$(GPU_PY) tests/gpu/count_launches.py --driver $(GPU_DRIVER) $(MODELS)

gpu-check: $(VENV)/.gpu  ## is everything right on this GPU, and how fast is it? (PARTS="machine kernels", OUT=folder, PATIENCE=3 on a slow one)
	$(PY) tests/gpu/check $(if $(PARTS),--parts $(PARTS)) $(if $(PATIENCE),--patience $(PATIENCE))

gpu-check-rehearsal: $(GPU_DRIVER)/built  ## the same on a GPU that computes nothing: does every line run?
	$(GPU_PY) tests/gpu/check/rehearse.py $(GPU_DRIVER) $(if $(PARTS),--parts $(PARTS))

$(GPU_DRIVER)/built: $(wildcard tests/gpu/hollow/driver/*) tests/gpu/hollow/build_driver.py | $(GPU_PY)
	$(GPU_PY) tests/gpu/hollow/build_driver.py $(GPU_DRIVER)
	@touch $@

$(GPU_PY):
	$(PYTHON) -m venv $(GPU_VENV)
	$(GPU_PY) -m pip install --quiet $(if $(TORCH),'torch==$(TORCH)') $(if $(TRANSFORMERS),'transformers==$(TRANSFORMERS)') \
	    'pytest>=9,<10' --editable '.[gpu]' || { rm -rf $(GPU_VENV); exit 1; }

check: lint types docs test  ## format, lint, types, the documentation site and the fast tests

lint: $(VENV)/.installed  ## ruff: format and rules
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

types: $(VENV)/.installed  ## mypy --strict
	$(VENV)/bin/mypy

reference: $(VENV)/.installed  ## write docs/reference/ and the JSON Schema for editors from the code
	$(PY) -m anima_exp.reference docs

families: $(VENV)/.installed  ## try every model family of the installed transformers, built small: 3 minutes (ONLY="llama ...")
	PYTHONPATH=tests $(PY) -m support.families src/anima_exp/reference/families.json $(ONLY)
	$(PY) -m anima_exp.reference docs

gallery: $(VENV)/.installed  ## write docs/gallery.md: every experiment and sweep, and what it would cost (a minute)
	$(PY) -m anima_exp.reference docs --gallery

docs: $(VENV)/.docs  ## build the documentation site into build/site; any warning fails
	$(MKDOCS) build --strict --quiet

docs-serve: $(VENV)/.docs  ## show the documentation site at http://127.0.0.1:8000 and follow changes
	$(MKDOCS) serve

# Without the variable Material prints a notice about MkDocs 2, which is of no use here.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs

format: $(VENV)/.installed  ## put the code into shape
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

tiny-base: $(VENV)/.installed  ## pre-train the embedded tiny base again (an hour on one core)
	$(PY) -m anima_exp.tiny.pretrain --out src/anima_exp/tiny/base

bench: $(VENV)/.bench  ## tokens a second: ours, TRL's SFTTrainer, the original's way (FOLDER=..., TOKENIZER=...)
	$(PY) benchmarks/training_speed.py $(FOLDER) $(TOKENIZER) $(if $(PRECISION),--precision $(PRECISION))

bench-gpu: $(VENV)/.gpu  ## the same at LLaMA's true shapes, 7B to 65B, random weights, on this GPU
	$(PY) tests/gpu/check --parts machine speed trl large


bench-processes: $(VENV)/.installed  ## tokens a second of two processes that share a batch, against one
	$(PY) benchmarks/several_processes.py

bench-choice: $(VENV)/.installed  ## five-shot questions: shared beginnings against full prompts (FOLDER=..., TOKENIZER=...)
	$(PY) benchmarks/five_shot.py $(FOLDER) $(TOKENIZER) 5

bench-base: $(VENV)/.installed  ## seconds and memory to load a base: quantizing, and from its snapshot
	$(PY) benchmarks/base_loading.py

bench-compare: $(VENV)/.installed  ## seconds to compare 500 runs
	PYTHONPATH=tests $(PY) benchmarks/compare_runs.py

bench-data: $(VENV)/.installed  ## token ids of all of Alpaca, against qlora.py's collator (FOLDER=..., TOKENIZER=...)
	$(PY) -m pip install --quiet sentencepiece
	$(PY) benchmarks/tokenizing.py $(FOLDER) $(TOKENIZER)

bench-chat: $(VENV)/.installed  ## conversations verified and cached, against the template call alone (TOKENIZER=...)
	$(PY) benchmarks/chat_tokenizing.py $(TOKENIZER)

bench-start: $(VENV)/.installed  ## seconds from a command to its answer or first step, and what it imports
	$(PY) benchmarks/start_up.py

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("anima_exp needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(PY) -m pip install --quiet --editable '.[dev,bench]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(PY) -m pip install --quiet --editable '.[dev,docs]'
	@touch $@

$(VENV)/.gpu: $(VENV)/.bench
	$(PY) -m pip install --quiet --editable '.[dev,bench,gpu]'
	@touch $@

bench-sweep: $(VENV)/.installed  ## what a cell of a sweep costs beside its steps, and planning a large grid
	$(PY) benchmarks/sweep_overhead.py
	$(PY) benchmarks/sweep_planning.py

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) $(VENV)-ray $(VENV)-gpu* build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
