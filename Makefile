# What people type. The build itself is CMake's: see CMakePresets.json.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build test demo lint asan tsan neon bench format clean

JOBS ?= $(shell nproc)
VENV := build/venv

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## a release build: build/release/vectron
	@scripts/install-deps build
	@cmake --preset release $(QUIET)
	@ninja -C build/release -j $(JOBS)

test: ## install what is missing, build with assertions, run every test
	@scripts/install-deps build test lint
	@cmake --preset debug $(QUIET)
	@ninja -C build/debug -j $(JOBS)
	@scripts/test-environment $(VENV)
	@ctest --preset debug -j $(JOBS)
	@VECTRON_BINARY=$(CURDIR)/build/debug/vectron $(VENV)/bin/python -m pytest tests

demo: ## real data through the whole database; DATA=<folder> for a TEXMEX set
	@scripts/install-deps build demo
	@$(MAKE) --no-print-directory build
	@scripts/demo $(if $(DATA),--data "$(DATA)")

lint: ## formatting, layers, clang-tidy and thread-safety analysis
	@scripts/install-deps build lint
	@cmake --preset debug $(QUIET)
	@ctest --preset debug -L style

asan tsan: ## unit tests under a sanitizer
	@scripts/install-deps build test lint
	@cmake --preset $@ $(QUIET)
	@ninja -C build/$@ -j $(JOBS)
	@ctest --preset $@ -LE style -j 1

neon: ## the kernels for 64-bit ARM, tested under an emulator
	@scripts/install-deps neon
	@scripts/check-neon

bench: ## bench/standalone.sh on DATA=<folder> (a TEXMEX set)
	@$(MAKE) --no-print-directory build
	@bench/standalone.sh "$(DATA)"

format: ## rewrite the sources as .clang-format says
	@git ls-files '*.cc' '*.h' | xargs clang-format-14 -i

clean: ## remove build/
	@rm -rf build
