# Everything runs inside .venv, which each target makes and keeps current by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SECONDS := 0
SEED :=
FUZZ_SECONDS := 60
BENCH :=
STAMP := $(VENV)/.stamp
BENCH_STAMP := $(VENV)/.bench-stamp

.PHONY: run test check fix bench bench-full bench-smoke interop pictures simulate soak fuzz clean help

help:
	@echo "make run     set up and watch a route server forward a realistic table (trio-bgp demo)"
	@echo "make test    set up and run the tests"
	@echo "make check   format, lint, types, layer order, tests with coverage"
	@echo "make fuzz    atheris on framing, OPEN, attributes, NLRI, repacking and MRT, FUZZ_SECONDS each"
	@echo "make soak    random schedules with faults until interrupted, or for SECONDS=...; SEED=N: that one"
	@echo "make fix     let ruff format and mend what it can"
	@echo "make pictures the README's pictures, from what really runs (needs Chromium)"
	@echo "make interop tests against BIRD, FRR, GoBGP, OpenBGPD and ExaBGP (Debian packages)"
	@echo "make bench-smoke work counted instead of timed; fails if there is more of it than there was"
	@echo "make bench   beside BIRD, FRR, GoBGP and OpenBGPD, minutes; make bench-full: all, hours; BENCH='...': options"

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

run: $(STAMP)
	$(BIN)/trio-bgp demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n auto -m "not interop and not simulation"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n auto -m "not interop and not simulation" --cov --cov-report=term:skip-covered --cov-fail-under=90
	$(BIN)/python -m pytest -q -n auto -m simulation

simulate: $(STAMP)
	$(BIN)/python -m pytest -q -n auto -m simulation

soak: $(STAMP)
	$(BIN)/python -m tests.simulation $(SEED) --seconds $(SECONDS)

fix: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

interop: $(STAMP)
	$(BIN)/python -m pytest -q -m interop tests/interop

bench: $(BENCH_STAMP)
	$(BIN)/python -m bench $(BENCH)

bench-smoke: $(STAMP)
	$(BIN)/python -m bench.smoke

bench-full: $(BENCH_STAMP)
	$(BIN)/python -m bench --full $(BENCH)

fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	for target in framing open attributes nlri update mrt; do $(BIN)/python -m fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; done

pictures: $(STAMP)
	$(BIN)/python -m tests.pictures

clean:
	rm -rf $(VENV) build bench/build *.egg-info
