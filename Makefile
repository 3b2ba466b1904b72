# Every target does its own set-up and is safe to run again.
SHELL := /bin/sh
CARGO ?= cargo

.PHONY: help setup setup-tests build install demo test lint bench chaos soak fuzz fmt clean

help:
	@echo "make demo    a simulated camera, the service and a webhook receiver; faces land in demo-out/ (VIDEO=file.mp4 for your own)"
	@echo "make test    format, lints, and every test"
	@echo "make bench   cargo bench: preprocess, detect, rules, encode, outbox, control_plane, faces, cameras, end_to_end"
	@echo "make chaos   kills the delivering service at 200 random moments (KILLS=n); what was committed has to arrive"
	@echo "make soak    10,000 failed connects, 1,000 cameras that come and go (SOAK=n,n): memory, files, threads stay"
	@echo "make fuzz    the readers of strangers' bodies, ten minutes each (FUZZ_SECONDS=600)"
	@echo "make build   the release binary, target/release/face-edge"
	@echo "make install the built program as a service of systemd, by root (docs/box.md); make build comes first"
	@echo "make setup   Debian packages and ONNX Runtime, nothing else"
	@echo "make fmt     formats the source"

setup:
	@sh scripts/setup.sh

setup-tests:
	@sh scripts/setup.sh tests

build: setup
	$(CARGO) build --release --locked

# Builds nothing: root does this, somebody else may have built.
install:
	@sh scripts/install.sh

demo: build
	@VIDEO="$(VIDEO)" sh scripts/demo.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

test: setup-tests lint
	$(CARGO) test --locked
	$(CARGO) build --locked
	@sh tests/sdk/run.sh
	@sh models/train/smoke.sh

bench: setup
	$(CARGO) bench --locked

KILLS ?= 200
chaos: setup-tests
	FACE_EDGE_TEST_KILLS=$(KILLS) $(CARGO) test --locked --test it -- --nocapture kill9::what

# `make test` does it for 200 and 20; the output says what was held along the way.
SOAK ?= 10000,1000
soak: setup-tests
	FACE_EDGE_TEST_SOAK=$(SOAK) $(CARGO) test --locked --test it -- --nocapture soak::

# Broken bodies for the readers of XML, BSON, multipart and searches; `make test` does it for two seconds each, CI for sixty.
fuzz: setup-tests
	FACE_EDGE_FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) $(CARGO) test --locked --test it -- fuzz:: --nocapture

fmt:
	$(CARGO) fmt

clean:
	rm -rf target demo-out .venv .runtime
