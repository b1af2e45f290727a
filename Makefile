# One target for each thing a developer does. `make help` lists them.
#
# PYTHON=/path/to/python   the interpreter to use; without it the newest that is found and tested
# PYTHONS="a b"            the interpreters of `make compat`; without it one of each version found
# ARGS="--quick"           what to hand to the scoreboard of `make bench`

PYTHON ?=
PYTHONS ?=
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help demo test bench lint format compat compat-long tools wheel clean

# Sets $python to the interpreter of the project's own environment for the Python $(1), with the
# dependency groups $(2) in it; stops, having said why, when something that it needs is missing.
environment = base=$$(tools/find_python.sh "$(1)") && python=$$("$$base" tools/set_up.py $(2))
python_code = examples python tests tools

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: ## run the two client programs, timed beside the standard library (HOST= PORT= UDP_PORT= for a real server)
	@$(call environment,$(PYTHON),) && "$$python" examples/demo.py

test: ## build, then run the tests of the Rust and of the Python code
	@$(call environment,$(PYTHON),test) && cargo test --workspace --locked \
	&& "$$python" -m pytest

bench: ## the scoreboard: rsnet beside the standard library, peers and plain Rust (ARGS="--quick", "--help")
	@$(call environment,$(PYTHON),bench) \
	&& cargo build --quiet --release --locked --package rsnet-floor \
	&& "$$python" -m rsnet bench --floor target/release/rsnet-floor $(ARGS)

lint: ## check formatting, lints, types, stubs and which way imports run
	@$(call environment,$(PYTHON),dev) \
	&& set -x \
	&& cargo fmt --all --check \
	&& cargo clippy --workspace --all-targets --locked -- --deny warnings \
	&& "$$python" -m ruff format --check $(python_code) \
	&& "$$python" -m ruff check $(python_code) \
	&& "$$python" -m mypy python examples/demo.py examples/tools/__main__.py examples/tools/proof tools/set_up.py tests/lint/import_directions.py tests/lint/confined.py \
	&& "$$python" -m mypy.stubtest --allowlist tests/lint/stubtest_allowlist.txt rsnet \
	&& "$$python" tests/lint/import_directions.py \
	&& "$$python" tests/lint/confined.py

format: ## format the code and fix what can be fixed without thinking
	@$(call environment,$(PYTHON),lint) \
	&& cargo fmt --all \
	&& "$$python" -m ruff check --fix $(python_code) \
	&& "$$python" -m ruff format $(python_code)

compat: ## CPython's own tests, with rsnet and with the standard library, on every Python found
	@bases="$(PYTHONS)"; \
	[ -n "$$bases" ] || bases=$$(tools/find_python.sh all) || exit 1; \
	worse=0; \
	for base in $$bases; do \
		$(call environment,$$base,) || exit 1; \
		"$$python" tests/compat/judge.py || worse=1; \
	done; \
	exit $$worse

compat-long: ## a million random sequences of calls, on rsnet and on the standard library
	@$(call environment,$(PYTHON),test) \
	&& RSNET_DIFFERENTIAL_SEQUENCES=1000000 "$$python" -m pytest --timeout=0 tests/compat -k differential

tools: ## well-known clients against their servers, with rsnet and with the standard library (OPTIONS="--quick --tool redis-py")
	@$(call environment,$(PYTHON),tools) && "$$python" examples/tools --install $(OPTIONS)

wheel: ## build the wheel, one for all Pythons, into target/wheels
	@$(call environment,$(PYTHON),) && ls target/wheels/*.whl

clean: ## remove what the other targets made
	rm -rf target .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find examples python tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
