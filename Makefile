# Two commands matter: `make demo` and `make test`. Both need cargo, a C compiler, make and Python 3; the rest they fetch
# into target/tools (see tests/tools.py).
.DEFAULT_GOAL := help
.PHONY: help demo check test tools lint pure-rust doc loom simulate fuzz fuzz-smoke bench bench-smoke instructions loadtest loadtest-build aims soak upgrade

CARGO ?= cargo
PYTHON ?= python3

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

demo: ## a bus, a gateway and agents, side by side; ends and cleans up by itself
	@server=$$($(PYTHON) tests/tools.py path server) && $(CARGO) run --quiet -p keyway -- demo --nats-server "$$server"

check: ## what is quick: format and lints of the gateway, and its tests that need nothing fetched, with few seeds of the simulation
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --package keyway --package keyway-envelope --all-targets --quiet -- -D warnings
	KEYWAY_SIMULATION_SEEDS=0..50 $(CARGO) test --package keyway --package keyway-envelope --lib --quiet

test: tools ## every test: unit, property, and real clients on a real bus
	$(CARGO) test --workspace --quiet
	KEYWAY_TEST_SERVER=oldest $(CARGO) test --package keyway-tests --test adversary --test attacks --quiet

tools: ## fetch the pinned nats-server and client libraries
	@$(PYTHON) tests/tools.py ensure

lint: ## formatting, lints and dependencies, as strict as CI
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	@deny=$$($(PYTHON) tests/tools.py path deny) && "$$deny" --log-level error check bans licenses sources

pure-rust: ## the envelope with the pure-Rust AEADs as the default, and the gateway on it
	$(CARGO) test --quiet --package keyway-envelope --features pure-rust-aead
	$(CARGO) check --quiet --package keyway --features pure-rust-aead

doc: ## the library's documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet

# A cfg of its own, and so a target folder of its own: nothing else is built for it, and nothing again.
loom: ## budgets and grants under every order of memory accesses
	RUSTFLAGS="--cfg loom" $(CARGO) test --quiet --package keyway-models --target-dir target/loom

# The dev profile's dependencies as they are; only the library itself is optimised, which takes some minutes to build.
simulate: ## rotation in a world that fails: seeds SEEDS (0..100000 unless given); see docs/testing.md
	KEYWAY_SIMULATION_SEEDS=$(or $(SEEDS),0..100000) $(CARGO) test --quiet --package keyway --lib \
	  --config 'profile.dev.package.keyway.opt-level=2' driver::simulation -- --nocapture

fuzz: ## every fuzz target, RUNS executions each (10,000,000 unless given); see docs/testing.md
	gateway/fuzz/run -runs=$(or $(RUNS),10000000)

fuzz-smoke: ## every fuzz target for 6 seconds, as CI does
	gateway/fuzz/run -max_total_time=6

# What the load test starts.
LOADTEST = keyway-loadtest --server "$$($(PYTHON) tests/tools.py path server)" --haproxy "$$($(PYTHON) tests/tools.py path haproxy)"

bench: loadtest-build ## every step beside the raw AEAD, in turns and then with statistics, then a short load test; takes a long build, then about seven minutes
	$(CARGO) bench --quiet --package keyway-bench --bench ratios
	$(CARGO) bench --quiet --package keyway-bench --bench keyway
	@target/release/$(LOADTEST) run --short

# The packages and the profile of `make test`, so that nothing is built twice; it shows that the instruments work, and no number.
bench-smoke: ## the benches and the load test run; no number means anything
	$(CARGO) bench --quiet --workspace --profile dev --bench keyway -- \
	  --quiet --warm-up-time 0.001 --measurement-time 0.01 --sample-size 10 --nresamples 1000 >target/bench-smoke.log 2>&1 || { tail -20 target/bench-smoke.log; exit 1; }
	$(CARGO) bench --quiet --workspace --profile dev --bench ratios -- --rounds 1 >>target/bench-smoke.log 2>&1 || { tail -20 target/bench-smoke.log; exit 1; }
	$(CARGO) build --quiet --workspace --bins
	@for what in \
	  "run --rounds 1 --messages 50 --publishers 3 --subscribers 3 --csv target/bench-smoke.csv --html target/bench-smoke.html" \
	  "aims --rounds 1 --messages 20 --json -" "outstanding --connections 2 --requests 100" \
	  "rotation --rounds 1 --messages 20000 --usage 5000 --every 20" "versions --versions 10" \
	  "hostile --requests 50 --rounds 1 --slow 20" "soak --minutes 0.2 --rotate-every 2s"; do \
	  target/debug/$(LOADTEST) $$what >>target/bench-smoke.log || exit 1; done
	@echo "benches and load test run; see target/bench-smoke.log"

# The dev profile with the gateway itself optimised, so that its dependencies are not built again; without incremental units, which would
# change what is counted.
instructions: ## instructions per message of each path, compared with those on record; RECORD=1 records them
	@CARGO_INCREMENTAL=0 $(CARGO) build --quiet --package keyway-bench --bin instructions --config 'profile.dev.package.keyway.opt-level=3' \
	  --config 'profile.dev.package.keyway-envelope.opt-level=3' --config 'profile.dev.package.keyway-envelope.debug-assertions=false' \
	  --config 'profile.dev.package.keyway-envelope.overflow-checks=false' \
	  --config 'profile.dev.package.keyway.debug-assertions=false' --config 'profile.dev.package.keyway.overflow-checks=false'
	@$(PYTHON) bench/instructions.py target/debug/instructions $(if $(RECORD),--record)

loadtest-build:
	$(CARGO) build --quiet --release --package keyway --package keyway-loadtest --bins

upgrade: tools ## the binary replaced under 1,000 to 50,000 messages a second, keys replaced, revoked and destroyed under way: what is lost; takes a long build first
	$(CARGO) test --quiet --release --package keyway-tests --test upgrade -- --ignored --nocapture

loadtest: loadtest-build ## every scenario on every target, report in target/loadtest.html; takes a long build, then about 20 minutes
	@target/release/$(LOADTEST) --html target/loadtest.html --csv target/loadtest.csv --json target/loadtest.json all

aims: loadtest-build ## what Keyway aims at, end to end: each figure with its aim; takes a long build, then about five minutes
	@target/release/$(LOADTEST) --html target/aims.html aims --rounds $(or $(ROUNDS),5)

soak: loadtest-build ## everything at once for MINUTES (30 unless given), a rotation every minute: fails if anything grows; takes a long build first
	@target/release/$(LOADTEST) soak --minutes $(or $(MINUTES),30) --rotate-every 60s
