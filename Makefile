# Image to Mesh without an installed Blender: the bpy wheel stands in for it.
# Every target makes what it needs in .venv first. Needs Python 3.11 with venv; see README.md.

PYTHON ?= python3
VENV ?= .venv
BUILD ?= build
PIP_FLAGS ?=

PICTURE ?=
OUT ?=
ENGINE ?= auto
DETAIL ?= medium
FLAGS ?=

py := $(VENV)/bin/python
pip := $(py) -m pip --disable-pip-version-check install $(PIP_FLAGS)

# Values that a person types reach the recipes through the environment, spaces, quotes and all.
export PICTURE OUT ENGINE DETAIL

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo mesh test test-unit test-bpy test-bpy-others gui parity bench bench-web lint format zip zip-full clean

help:
	@echo "make demo      run the main job on the bundled pictures; results in $(BUILD)/demo/"
	@echo "make mesh PICTURE=photo.jpg OUT=chair.glb [ENGINE=object|scene|auto] [DETAIL=medium]"
	@echo "make test      all tests that need no window"
	@echo "make test-bpy-others  the tests of the Blender side again, on Blender 4.2 and 5.0"
	@echo "make gui       the tests in a real Blender window (Debian, as root)"
	@echo "make parity    our networks against the published code, same random weights"
	@echo "make bench     speed, memory, networks and quality (OBJECTS=folder for your own objects)"
	@echo "make bench-web a GLB in Blender and in three.js (needs node and chromium)"
	@echo "make lint      format check, ruff and pyright;  make format  changes the files"
	@echo "make zip       the extension in $(BUILD)/;  make zip-full  with PyTorch and OpenCV inside"
	@echo "make clean     delete $(BUILD)/ (not $(VENV)/)"

# --- what the targets need ---------------------------------------------------------------------

APT_PACKAGES := libx11-6 libxext6 libxi6 libxxf86vm1 libxfixes3 libxrender1 libxkbcommon0 libxt6 \
	libsm6 libice6 libgl1 libegl1

define check_python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "Blender 4.5 needs Python 3.11: install it and run 'make PYTHON=python3.11 ...'." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "Python cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
endef

# os._exit: some bpy wheels crash or hang when Python takes them apart.
define check_bpy
	@$(1) -c 'import os, bpy; os._exit(0)' || { \
	    echo "Blender's module cannot be loaded. On Debian or Ubuntu install what it links to:" >&2; \
	    echo "  apt-get install --no-install-recommends $(APT_PACKAGES)" >&2; exit 1; }
endef

$(py):
	$(check_python)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-run: requirements.txt | $(py)
	$(pip) -r requirements.txt
	$(call check_bpy,$(py))
	@touch $@

$(VENV)/.ready-bench: requirements-bench.txt $(VENV)/.ready-run
	$(pip) -r requirements-bench.txt
	@touch $@

$(VENV)/.ready-test: requirements-test.txt $(VENV)/.ready-bench
	$(pip) -r requirements-test.txt
	@touch $@

$(VENV)/.ready-dev: requirements-dev.txt $(VENV)/.ready-test
	$(pip) -r requirements-dev.txt
	@touch $@

# Those without dependencies declare far more than their networks import.
$(VENV)/.ready-parity: requirements-parity.txt $(VENV)/.ready-test
	$(pip) -r requirements-parity.txt
	$(pip) --no-deps --ignore-requires-python depth-anything-v2==0.1.0 depth-anything-3==0.1.1 \
	    dlr-moge==2.0.0 backgroundremover==0.4.5 dis-inference==1.1.3
	@touch $@

# Other Blenders: each its own bpy, and everything else from the first environment.
OTHER_BPY := 4.2.23 5.0.1
other_venvs := $(OTHER_BPY:%=$(VENV)-bpy-%)
$(VENV)-bpy-%/.ready: $(VENV)/.ready-test
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install $(PIP_FLAGS) --no-deps bpy==$*
	$(py) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	    >"$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_first.pth"
	$(call check_bpy,$(@D)/bin/python)
	@touch $@

# --- what you came for --------------------------------------------------------------------------

demo: $(VENV)/.ready-run
	$(py) -m benchmarks.demo --output $(BUILD)/demo $(FLAGS)

mesh: $(VENV)/.ready-run
	@test -n "$$PICTURE" || { echo 'make mesh PICTURE=photo.jpg OUT=chair.glb [ENGINE=object|scene|auto]' >&2; exit 2; }
	@$(py) -m benchmarks.mesh "$$PICTURE" --output "$${OUT:-.}" --engine "$$ENGINE" --detail "$$DETAIL" $(FLAGS)

test: test-unit test-bpy

test-unit: $(VENV)/.ready-test
	$(py) -m pytest -q tests/unit $(FLAGS)

test-bpy: $(VENV)/.ready-test
	$(py) -m pytest -q tests/bpy $(FLAGS)

test-bpy-others: $(other_venvs:=/.ready)
	set -e; for venv in $(other_venvs); do $$venv/bin/python -m pytest -q tests/bpy $(FLAGS); done

parity: $(VENV)/.ready-parity
	$(py) -m pytest -q tests/parity $(FLAGS)

# The window ring makes a Debian with Blender in TRIXIE and keeps it between runs. Debian has no huggingface_hub
# and no timm, whose other dependencies it has or nothing here needs.
TRIXIE ?= $(BUILD)/trixie
trixie_packages := $(TRIXIE)/usr/local/lib/python3.13/dist-packages
gui: $(VENV)/.ready-test
	tests/gui/box.sh "$(TRIXIE)" true
	test -d "$(trixie_packages)/huggingface_hub" || $(pip) --quiet --target "$(trixie_packages)" \
	    --only-binary :all: --python-version 3.13 --constraint wheels/requirements.txt huggingface-hub
	test -d "$(trixie_packages)/timm" || $(pip) --quiet --target "$(trixie_packages)" --no-deps \
	    --only-binary :all: --python-version 3.13 --constraint wheels/requirements.txt timm pillow
	IMAGE_TO_MESH_CHROOT="$(abspath $(TRIXIE))" $(py) -m pytest -q -m gui tests/gui $(FLAGS)

# What our networks are compared with is needed for the table of networks.
bench: $(VENV)/.ready-parity
	$(py) -m benchmarks.bench --out $(BUILD)/bench $(if $(OBJECTS),--objects "$(OBJECTS)") $(FLAGS)

# Not part of bench: it needs node and a Chromium (apt-get install nodejs npm chromium).
bench-web: $(VENV)/.ready-bench
	@mkdir -p $(BUILD)/web
	cp benchmarks/peers/three_js/package.json $(BUILD)/web/
	npm install --silent --no-audit --no-fund --prefix $(BUILD)/web
	$(py) -m benchmarks.peers.web_viewer --out $(BUILD)/bench/web --modules $(BUILD)/web $(FLAGS)

lint: $(VENV)/.ready-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright --pythonpath $(py)

format: $(VENV)/.ready-dev
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

zip: $(VENV)/.ready-run
	$(py) wheels/package.py --output $(BUILD)

zip-full: $(VENV)/.ready-run
	$(py) wheels/package.py --output $(BUILD) --full

clean:
	rm -rf --one-file-system $(BUILD)
