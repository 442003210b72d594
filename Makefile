# Two commands need nothing but Python >= 3.11, make and a package index: `make test` and `make demo`.
.DEFAULT_GOAL := help
.PHONY: help test quick check demo bench wheel generated format clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

test:  ## lint, format, contracts, types, and every test
	@tools/environment test
	@tools/check

quick:  ## the same without the slow tests
	@tools/environment test
	@tools/check static
	@tools/check tests -m "not slow" tests/architecture tests/unit tests/property

check:  ## lint, format, contracts and types alone
	@tools/environment test
	@tools/check static

demo:  ## builds three networks, reads the text of an image with them, and prints the times
	@tools/environment demo
	@.venv/bin/engineworks demo

bench:  ## measures the networks of the zoo against other runtimes (takes hours)
	@tools/environment bench
	@.venv/bin/python -m benchmarks.cpu

wheel:  ## builds the wheel and runs an engine beside numpy, ml_dtypes and msgspec alone
	@tools/environment test
	@tools/prove_wheel

generated:  ## writes the files that tools write: the builder stub, the list of public names
	@tools/environment test
	@.venv/bin/python tools/builder_stub.py
	@.venv/bin/python tools/public_names.py

format:  ## formats, and fixes what ruff can fix
	@tools/environment test
	@.venv/bin/ruff check --fix --quiet; .venv/bin/ruff format --quiet

clean:  ## removes the environment and everything made
	@rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
