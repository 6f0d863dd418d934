# Every target sets itself up: only Python 3.10-3.13 and make are needed. Paths are relative, since make can't handle
# spaces and the directory's own name may contain them.
#
#   make demo    few labels to robust model on real digits, one table    make test    all tests but the notebooks'
#   make lint    style of all code      make types   types of the package      make notebooks   runs the notebooks
#   make outputs   runs the notebooks and keeps in them what they print and draw
#   make docs    the documentation in build/docs, strictly                make bench   every benchmark
#   make test-scale    the tests that need Ray      make test-explore   those of the explorer, in a browser
#   make test-oldest   the tests on the oldest versions that setup.cfg allows; TESTS=... chooses some
#   make test-backends   what works there, with Keras on JAX and on torch
#   make test-wheel    the wheel, installed with what it asks for and nothing else
#
# PYTHON chooses the interpreter of the environment; TENSORFLOW the extra: cpu, tensorflow or gpu.

PYTHON ?= python3
TENSORFLOW ?= cpu
export TF_CPP_MIN_LOG_LEVEL ?= 3
export KERAS_BACKEND = tensorflow

# Named, since the newest on the index may bring gigabytes of CUDA: make TORCH=torch takes it.
TORCH ?= torch==2.13.0

LEARNING := tests/adversarial tests/consistency tests/self_training

VENV := .venv
RUN := $(VENV)/bin/python
OLDEST := .venv-oldest
BACKENDS := .venv-backends
WHEEL := .venv-wheel
# The oldest Python there is, also where pyenv keeps it out of sight.
OLDEST_PYTHON ?= $(shell PYENV_VERSION=3.10 python3.10 -c "import sys; print(sys.executable)" 2>/dev/null || echo $(PYTHON))
SUPPORTED := import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else \
	f"Python 3.10 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")

.PHONY: demo test test-scale test-explore test-oldest test-backends test-wheel notebooks outputs lint types docs bench clean

demo: $(VENV)/ready
	$(RUN) -m keras_aug_ssl study --dataset mnist5k --labels 100 --out report

# In two parts, since what TensorFlow has traced is never freed: by one, a process would come to hold 13 GB.
test: $(VENV)/ready
	failed=0; \
	$(RUN) -m pytest -n 2 --dist worksteal $(LEARNING) || failed=1; \
	$(RUN) -m pytest -n 2 --dist worksteal --ignore tests/test_notebooks.py $(LEARNING:%=--ignore %) || failed=1; \
	exit $$failed

test-scale: $(VENV)/ready-ray
	$(RUN) -m pytest tests/scale/test_ray.py

test-explore: $(VENV)/ready-explore
	$(RUN) -m pip install --quiet playwright
	$(RUN) -m pytest tests/explore

# Old packages warn of one another's newer versions: their deprecations are no errors here.
test-oldest: $(OLDEST)/ready
	$(OLDEST)/bin/python -m pytest -n 2 --dist worksteal --ignore tests/test_notebooks.py \
		-W ignore::DeprecationWarning -W ignore::FutureWarning $(TESTS)

test-backends: $(BACKENDS)/ready
	set -e; for backend in jax torch; do echo "== $$backend"; \
		KERAS_BACKEND=$$backend $(BACKENDS)/bin/python -m pytest -n 2 --dist worksteal tests/backend; done

# As a user gets it. Run from an empty folder, so that nothing of the checkout can stand in for it.
test-wheel: $(VENV)/ready
	rm -rf build/wheel $(WHEEL)
	$(RUN) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(PYTHON) -m venv $(WHEEL)
	wheel=$$(ls build/wheel/*.whl) && $(WHEEL)/bin/python -m pip install --quiet "$$wheel[$(TENSORFLOW)]"
	mkdir build/wheel/empty && cd build/wheel/empty && \
		../../../$(WHEEL)/bin/python ../../../tests/smoke.py "$$(cd ../../../$(WHEEL) && pwd)"

notebooks: $(VENV)/ready
	$(RUN) -m pytest -n 2 tests/test_notebooks.py

outputs: $(VENV)/ready
	$(RUN) -m tests.save_notebooks

lint: $(VENV)/ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/ready
	$(RUN) -m mypy

# Afresh each time, and every warning is an error: a broken link, a name that isn't there, a public name left out.
docs: $(VENV)/ready-docs
	rm -rf build/docs build/doctrees build/gallery build/reference
	$(RUN) -m sphinx -q -n -W --keep-going -d build/doctrees -c docs . build/docs
	$(RUN) -m pytest -q tests/test_site_in_a_browser.py
	@echo "build/docs/index.html"

bench: $(VENV)/ready-bench
	set -e; for script in benchmarks/[!_]*.py; do echo "== $$script"; $(RUN) "$$script"; done

clean:
	rm -rf build report .pytest_cache .mypy_cache .ruff_cache

# A stamp rather than the directory: an interrupted installation is taken up again, a finished one never touches the network.
$(VENV)/ready: setup.cfg pyproject.toml
	@$(PYTHON) -c '$(SUPPORTED)'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable ".[$(TENSORFLOW),demo,test]"
	touch $@

# uv, since pip can't choose the lowest version that setup.cfg allows of what it names, with the newest of what those need.
$(OLDEST)/ready: setup.cfg pyproject.toml
	@$(OLDEST_PYTHON) -c '$(SUPPORTED)'
	test -x $(OLDEST)/bin/python || $(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet uv
	$(OLDEST)/bin/python -m uv pip install --quiet --python $(OLDEST)/bin/python --upgrade --resolution lowest-direct \
		--editable ".[$(TENSORFLOW),demo,test,notebooks]"
	touch $@

# The three stand side by side: Keras imports the one that it runs on.
$(BACKENDS)/ready: setup.cfg pyproject.toml
	@$(PYTHON) -c '$(SUPPORTED)'
	test -x $(BACKENDS)/bin/python || $(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --editable ".[$(TENSORFLOW)]" pytest pytest-xdist jax $(TORCH)
	touch $@

$(VENV)/ready-%: $(VENV)/ready
	$(RUN) -m pip install --quiet --editable ".[$*]"
	touch $@
