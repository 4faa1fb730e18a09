# Needs Go 1.26; an older one from 1.21 on fetches it. `make run` needs nothing else; `make test` installs what
# tests/apt.txt names where it may.
GO ?= go
export CGO_ENABLED ?= 0
BUILD = $(GO) build -trimpath -ldflags=-s
# The race detector makes pure computation several times slower. Blowfish, the calendar and the planner start no goroutine and lock nothing
# (tests/house holds ours to that): they are left out.
UNRACED = golang.org/x/crypto/blowfish github.com/mfpgate/mfpgate/calendar github.com/mfpgate/mfpgate/scheduler/load github.com/mfpgate/mfpgate/scheduler/repair github.com/mfpgate/mfpgate/scheduler/plan
# Without paths in them, what is compiled in one clone serves the next.
RACE = -trimpath -race $(UNRACED:%=-gcflags=%=-race=false)
# Each process waits at its end for reports of other threads, by default a second: tests start hundreds.
export GORACE = atexit_sleep_ms=50

.PHONY: help run test test-long check deps build bench fresh lint clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## bin/mfpgate, bin/mfpcloud and bin/mfpsim
	$(BUILD) -o bin/ ./cmd/...

run: build ## a whole site on this machine: gateway, two clouds, eight simulated MFPs; Ctrl-C ends it
	$(BUILD) -o bin/ ./tests/site
	@exec bin/site

deps: ## install what the tests need, or say how
	@tests/deps.sh

# Tests that are processes wait more than they compute: three packages at once keep two processors busy.
test: deps lint ## everything that CI runs
	CGO_ENABLED=1 $(GO) test $(RACE) -p 3 -timeout 9m ./...

test-long: ## what takes longer: many more kills of the gateway, of its store and of moves between regions
	CGO_ENABLED=1 $(GO) test $(RACE) -tags long -timeout 40m ./tests/crash ./tests/schedule ./tests/registration ./tests/moves ./broker/region/...

check: ## the inner loop: no race detector, no root, under two minutes
	$(GO) vet ./...
	$(GO) test -short $$($(GO) list ./... | grep -vE '/(systemd|tests/(browser|vm|load|crash|devices|lan|reports|registration|schedule|moves))$$')

lint: ## format, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool -modfile=tests/tools/go.mod staticcheck ./...

BENCH ?= relay
bench: build ## measure beside real peers: make bench BENCH=relay, discovery, schedule, registration or moves
	$(GO) run ./tests/bench -run $(BENCH) -out bin/bench.json

fresh: ## both README commands inside a minimal Debian root
	tests/fresh/fresh.sh

clean: ## remove what the targets made
	rm -rf bin run .cache
