# riser. Needs Go, make, git and bash; the integration target also needs root on Debian 12.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULE  := github.com/riser-project/riser
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

GOLANGCI_LINT_VERSION := v2.15.0
GOLANGCI_LINT := bin/golangci-lint-$(GOLANGCI_LINT_VERSION)

# RACE=1 runs the tests under the race detector, which needs a C compiler and several times as long.
TESTFLAGS := $(if $(RACE),-race -timeout 15m,-timeout 10m)

# Packages with tests that need real components, by the build tag of those tests.
INTEGRATION = $(shell grep -rlE --include='*_test.go' '^//go:build .*\bintegration\b' . | xargs -r -n1 dirname | sort -u)

BENCHTIME ?= 200ms

.PHONY: help
help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Play both jobs on simulators: no root, no packages, loopback only.
	go run ./cmd/riser demo

.PHONY: test
test: ## Unit tests: no root, no packages, no network (RACE=1 adds -race).
	go test $(TESTFLAGS) ./...

# Tests of different packages run one after the other (-p 1): each starts daemons of its own, and two cores are soon full.
.PHONY: integration
integration: ## Tests against real components, which it installs. As root on Debian 12.
	test/integration/packages.sh
	test/integration/openstack-chroot.sh >/dev/null
	RISER_INTEGRATION=1 go test $(TESTFLAGS) -tags integration -count=1 -p 1 $(INTEGRATION)

.PHONY: lint
lint: $(GOLANGCI_LINT) ## gofmt, go vet and golangci-lint, the integration tests included.
	@unformatted=$$(gofmt -l .); \
	if [[ -n "$$unformatted" ]]; then echo "not formatted by gofmt:" $$unformatted >&2; exit 1; fi
	go vet ./...
	go vet -tags integration,failpoints ./...
	$(GOLANGCI_LINT) run ./...

# The version stands in the file's name, so that a new version is a new target.
$(GOLANGCI_LINT):
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv bin/golangci-lint $@

.PHONY: bench
bench: ## Benchmarks, briefly (BENCHTIME=2s for steadier numbers).
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) -p 1 ./...
	@if go run ./cmd/riser --help | grep -q '^ *bench '; then go run ./cmd/riser bench; fi

.PHONY: build
build: ## Static binaries for amd64 and arm64, into dist/.
	@mkdir -p dist
	@for arch in amd64 arm64; do for program in riser riser-agent; do \
		echo "dist/$$program-linux-$$arch"; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false \
			-ldflags '-s -w -X main.version=$(VERSION)' -o dist/$$program-linux-$$arch ./cmd/$$program; \
	done; done

.PHONY: clean
clean: ## Remove what the other targets made.
	rm -rf bin dist coverage.out
