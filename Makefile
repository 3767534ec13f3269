# Every target does its own set-up: uv, system packages, Docker Engine. What is there is used, what is missing is fetched.
DATA ?= data
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test torture real-core host-shell lint format access-table plugin-api bench stop stop-engine no-test-host no-real-core clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run:  ## Rooftree with the example add-ons (DATA=folder, ARGS="--port 9000")
	@scripts/run "$(DATA)" $(ARGS)

test:  ## all tests but those that take minutes (ARGS="-k store")
	@scripts/test -m "not torture and not real_core" $(ARGS)

torture:  ## the tests that take minutes, and a real Home Assistant Core
	@scripts/test -m torture --timeout=1800 $(ARGS)
	@scripts/real-core test

real-core:  ## Rooftree with a real Home Assistant Core, which is built once (ARGS="-k ingress")
	@scripts/real-core test $(ARGS)

host-shell:  ## a shell in a test host with systemd and all (ARGS="--board yellow --rooftree")
	@scripts/test-host shell $(ARGS)

lint:  ## ruff, mypy --strict, and who may import whom
	@scripts/workspace
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --strict core plugins
	.venv/bin/mypy --strict -p tests.rig -p tests.bus -p tests.torture
	.venv/bin/python -m tests.lint.import_contracts
	scripts/foreign-paths

format:  ## what ruff can mend by itself
	@scripts/workspace
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

access-table:  ## who may call what, in docs/ and in the golden file, as the routes say now
	@scripts/workspace
	.venv/bin/python -m tests.contract.access_table

plugin-api:  ## what plugin authors may rely on, in the golden file, as the code says now
	@scripts/workspace
	.venv/bin/python -m tests.api.public_surface

bench:  ## the numbers of the README, as ratios measured in one run
	@scripts/workspace
	.venv/bin/python benchmarks/run.py $(ARGS)

stop: stop-engine  ## the registry and the Docker Engine, where we started them
	@scripts/registry stop

stop-engine:  ## the Docker Engine, where we started it
	@scripts/engine stop

no-test-host:
	@scripts/test-host remove

no-real-core:
	@scripts/real-core remove

clean: no-test-host no-real-core stop  ## take away what make fetched and built; the data folder stays
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
