# make demo   the whole loop on embedded photographs, then where the report is
# make serve  the same study in a browser
# make test   everything that is tested; make check: style, types, who may import whom
# CONFIG=cifar10 runs the demo on data/cifar10 instead. Nothing here is needed to use the commands themselves.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONFIG ?= demo
WORK ?= $(if $(filter demo,$(CONFIG)),demo,demo-$(CONFIG))
PORT ?= 8765
PARTICIPANTS ?= 48
HUMAN_DATA ?= $(firstword $(wildcard data/human ../shared/data/human) data/human)
JOBS ?= 2
METHODS := standard pgd-at sip-at
PEOPLE := $(if $(wildcard core/configs/$(CONFIG)-sip-at-people.toml),sip-at-people)
SHOWN := $(METHODS:%=$(WORK)/runs/%)
RUNS := $(SHOWN) $(PEOPLE:%=$(WORK)/runs/%)
ANNOTATIONS := $(if $(PEOPLE),$(WORK)/annotations)
ANNOTATORS ?= 3
TASK := study_app/annotation/tasks/demo.toml
OBSERVERS := study_app/observers/demo.toml
PROTOCOL := study_app/protocols/demo.toml
VENDOR := study_app/static/vendor/jspsych.js
STUDY = DATABASE_URL="sqlite:///$(abspath $(WORK))/study.sqlite" $(BIN)/flask --app study_app
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE  # else each of many processes compiles our modules anew

.PHONY: help setup translations demo demo-annotate demo-train demo-evaluate demo-stimuli demo-study demo-report serve clean-demo test check fmt report rivals bench load faults fuzz coverage human-data chromium

help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# ---- set-up -------------------------------------------------------------------------------------------------------

setup: $(VENV)/.run $(VENDOR) ## virtual environment, pinned dependencies, front-end assets

define install
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
  { echo "error: expected Python 3.11 to 3.13 as '$(PYTHON)'; name one with make PYTHON=python3.12 …" >&2; exit 1; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
$(BIN)/pip install --quiet '.[$(1)]'
endef
comma := ,

$(VENV)/.run: pyproject.toml constraints.txt
	$(call install,train$(comma)study$(comma)report)
	@touch $@

# It has all that .run has, so that what is both needs one installation.
$(VENV)/.dev: pyproject.toml constraints.txt
	$(call install,dev)
	@touch $(VENV)/.run $@

$(VENDOR): study_app/frontend/package-lock.json study_app/frontend/build.js
	@command -v npm >/dev/null || \
	  { echo "error: expected Node with npm for the front end, found none; install Node 18 or newer (nodejs.org, or your system's package nodejs and npm)" >&2; exit 1; }
	npm --prefix study_app/frontend ci --no-audit --no-fund --loglevel=error
	npm --prefix study_app/frontend run --silent build
	@touch $@

chromium: $(VENV)/.dev
	@if [ -n "$${PERCEPSILON_CHROMIUM:-}" ] || command -v chromium chromium-browser google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-dejavu-core >/dev/null; \
	else $(BIN)/playwright install chromium || \
	  { echo "error: no Chromium found; install one, or name it: PERCEPSILON_CHROMIUM=/path/to/chromium make test" >&2; exit 1; }; fi

# ---- the main job, command by command (README explains each) ------------------------------------------------------

demo: setup ## the whole loop: annotate, train, evaluate, stimuli, study with robots, report
	@$(MAKE) --no-print-directory demo-report
	@echo
	@echo "The report:          $(WORK)/report/index.html"
	@echo "The study, for you:  make serve$(if $(filter demo,$(CONFIG)),, CONFIG=$(CONFIG))"
	@$(if $(PEOPLE),echo "The painting too:    the same with /annotate/ after the address",:)

demo-annotate: $(ANNOTATIONS:%=%/agreement.json)
demo-train: $(RUNS:%=%/weights.safetensors)
demo-evaluate: $(RUNS:%=%/evaluation.json)
demo-stimuli: $(WORK)/stimuli/set.json
demo-study: $(WORK)/export/dataset_description.json
demo-report: $(WORK)/report/manifest.json

$(WORK)/runs/%/weights.safetensors: core/configs/$(CONFIG)-%.toml
	$(BIN)/python -m core.train $< --run-dir $(@D) --resume
	@touch $@

$(WORK)/runs/sip-at-people/weights.safetensors: core/configs/$(CONFIG)-sip-at-people.toml $(WORK)/annotations/agreement.json
	$(BIN)/python -m core.train $< --run-dir $(@D) --resume --set salience.path=$(WORK)/annotations
	@touch $@

$(WORK)/pictures/pictures.json: core/configs/$(CONFIG)-sip-at-people.toml
	rm -rf $(@D)
	$(BIN)/python -m core.picture_set $< --out $(@D) --per-class 8
	@touch $@

$(WORK)/annotations/agreement.json: $(WORK)/pictures/pictures.json $(TASK)
	$(STUDY) init-db
	$(STUDY) register-pictures $(WORK)/pictures
	$(STUDY) register-annotation $(TASK) --pictures pictures
	@$(STUDY) serve --port $(PORT) 2>$(WORK)/server.log & server=$$!; trap "kill $$server 2>/dev/null || true" EXIT; set -x; \
	  $(BIN)/python -m study_app.annotate_simulate --url http://127.0.0.1:$(PORT) --wait 30 --annotators $(ANNOTATORS) \
	    --state $(WORK)/annotators.jsonl
	rm -rf $(@D)
	$(STUDY) export-annotations $(@D)
	$(BIN)/python -m core.annotations consensus $(@D)
	@touch $@

$(RUNS:%=%/evaluation.json) &: $(RUNS:%=%/weights.safetensors)
	$(BIN)/python -m core.evaluate $(RUNS)

$(WORK)/stimuli/set.json: core/configs/$(CONFIG)-stimuli.toml $(SHOWN:%=%/weights.safetensors)
	$(BIN)/python -m core.stimuli $< --runs $(SHOWN) --out $(@D)
	@touch $@

$(WORK)/export/dataset_description.json: $(WORK)/stimuli/set.json $(OBSERVERS) $(PROTOCOL)
	$(STUDY) init-db
	$(STUDY) register-set $(WORK)/stimuli
	$(STUDY) register-protocol $(PROTOCOL) --set $(CONFIG)
	@$(STUDY) serve --port $(PORT) 2>$(WORK)/server.log & server=$$!; trap "kill $$server 2>/dev/null || true" EXIT; set -x; \
	  $(BIN)/python -m study_app.simulate --url http://127.0.0.1:$(PORT) --wait 30 --participants $(PARTICIPANTS) \
	    --observers $(OBSERVERS) --manifest $(WORK)/stimuli --state $(WORK)/robots.jsonl
	rm -rf $(@D)
	$(STUDY) export $(@D)

$(WORK)/report/manifest.json: $(WORK)/export/dataset_description.json $(RUNS:%=%/evaluation.json)
	$(BIN)/python analysis/report.py $(WORK)/export --evaluations $(RUNS) $(ANNOTATIONS:%=--annotations %) --observers $(OBSERVERS) --out $(@D)
	@touch $@

serve: setup ## the demo's study, and its annotation task under /annotate/, in a browser, for people
	@test -f $(WORK)/study.sqlite || { echo "error: no study in $(WORK)/ yet; run make demo first" >&2; exit 1; }
	$(STUDY) serve --port $(PORT)

clean-demo: ## forget what the demo made
	rm -rf $(WORK)

# ---- for developers -----------------------------------------------------------------------------------------------

test: $(VENV)/.dev setup chromium ## the whole suite, Chromium included
	$(BIN)/pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder

check: $(VENV)/.dev ## style, types, who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

translations: $(VENV)/.dev ## bring the catalogues of the study's pages up to date with their texts
	$(BIN)/python -m study_app.catalogues

fmt: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torchattacks asks for a requests of 2021, which the study server cannot live with. It uses it for nothing here, and all
# else that it asks for is there, so it goes in without its dependencies, at the version in constraints.txt.
rivals: $(VENV)/.rivals ## the libraries that our attacks are measured against
$(VENV)/.rivals: $(VENV)/.run
	$(BIN)/pip install --quiet '.[bench]'
	$(BIN)/pip install --quiet --no-deps torchattacks
	@touch $@

bench: setup $(VENV)/.rivals ## measure the claims in benchmarks/results/; half an hour or more, while nothing else computes
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.attacks_parity
	$(BIN)/python -m benchmarks.square_l2
	$(BIN)/python -m benchmarks.atop_protocol
	$(BIN)/python -m benchmarks.attacks_speed
	$(BIN)/python -m benchmarks.analysis_speed
	$(BIN)/python -m benchmarks.report_scale
	$(BIN)/python -m benchmarks.annotation_scale
	$(BIN)/python -m benchmarks.annotation_latency
	@if command -v nvidia-smi >/dev/null; then set -x; $(BIN)/python -m benchmarks.training_gpu; fi

load: setup $(VENV)/.dev $(VENV)/.rivals ## how many answers a second the study carries; six minutes, while nothing else computes
	$(BIN)/python -m benchmarks.study_load

faults: setup $(VENV)/.dev ## robots answer and paint while workers are killed and requests are lost; thirteen minutes
	$(BIN)/python -m benchmarks.study_faults
	$(BIN)/python -m benchmarks.annotation_faults

fuzz: setup $(VENV)/.dev ## 10,000 hostile requests to every route of the study; five minutes
	$(BIN)/python -m benchmarks.study_fuzz

coverage: setup ## what the report's intervals cover and how often its tests err; a quarter of an hour, two cores
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.coverage

human-data: setup ## real answers of people (HUMAN_DATA=DIRECTORY with scooter/ and geirhos/) through the report
	$(BIN)/python -m benchmarks.human_data $(HUMAN_DATA)
