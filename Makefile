# The two commands are `make demo` and `make test`; each sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
DATA := $(abspath ../shared/data)
# Tests on real data read only GALBASE_TEST_DATA; where the data lie beside the checkout, a skip for want of them fails.
ifeq ($(GALBASE_TEST_DATA),)
ifneq ($(wildcard $(DATA)/README.md),)
export GALBASE_TEST_DATA := $(DATA)
export GALBASE_REQUIRE_DATA := 1
endif
endif
# Processes of the tests; each has a server of its own.
PYTEST_WORKERS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n : 4)))
PYTEST_OPTIONS ?=

.PHONY: demo test check science bench bench-rivals sky-exact lock clean

demo: .venv/ready
	$(BIN)/galbase demo

test: .venv/ready
	$(BIN)/python -m pytest --numprocesses $(PYTEST_WORKERS) $(PYTEST_OPTIONS)

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.typing $(BIN)/lint-imports
	$(BIN)/python -m pytest tests/house -q

# Hours; may be stopped and goes on where it was.
science: .venv/ready
	$(BIN)/python benchmarks/science.py
	$(BIN)/python benchmarks/galnet_sersic.py --seeds 1 2 3

bench: .venv/ready
	for file in $(filter-out benchmarks/science%,$(wildcard benchmarks/*.py)); do $(BIN)/python $$file || exit 1; done

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch .venv/ready

# What benchmarks/sky.py and benchmarks/crossmatch.py measure against; Debian 12, as root.
bench-rivals:
	apt-get install --yes --quiet postgresql-15 postgresql-15-q3c postgresql-15-pgsphere stilts
	python3 -m venv build/rivals
	build/rivals/bin/pip install --quiet 'lsdb>=0.11,<1'

# 10,000 cones, 2,000 boxes, ellipses and polygons against brute force.
sky-exact: .venv/ready
	GALBASE_MANY=5 $(BIN)/python -m pytest --timeout 3600 tests/sql/test_cone_search.py tests/sql/test_healpix_cells.py \
		tests/sql/test_polygons.py tests/sql/test_regions.py tests/sql/test_search.py

# Pins what pyproject.toml allows; the pins are for Python 3.11 and newer on Linux.
lock:
	$(BIN)/uv pip compile pyproject.toml --group dev --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
		--no-header --no-annotate --upgrade --quiet --output-file requirements.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
