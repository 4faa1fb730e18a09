# Needs Go 1.26; an older one from 1.21 on fetches it. `make run` needs nothing else; `make test` installs what
# tests/apt.txt names where it may.
GO ?= go
# What is built has USB where libusb and what compiles against it are, unless CGO_ENABLED=0 refuses them. Each recipe asks anew: `deps`
# may just have installed them.
USB = $(if $(filter 0,$(CGO_ENABLED)),0,$(shell flags=$$(pkg-config --cflags libusb-1.0 2>/dev/null) && echo '\#include <libusb.h>' | $${CC:-gcc} $$flags -E -x c - >/dev/null 2>&1 && echo 1 || echo 0))
USB_IS_OFF = without USB printers: that takes the packages gcc, libc6-dev, pkg-config and libusb-1.0-0-dev; make deps installs them
# For what has cgo in any case, and for the programs that tests build: the race detector needs no libusb.
NOUSB = $(if $(filter 0,$(USB)),nousb)
GOFLAGS_RACE = CGO_ENABLED=1 GOFLAGS="$$GOFLAGS $(NOUSB:%=-tags=%)"
# Names are looked up and users found by Go's own means, with USB and without.
BUILD = CGO_ENABLED=$(USB) $(GO) build -trimpath -tags netgo,osusergo -ldflags=-s
# The race detector makes pure computation several times slower. Blowfish, the calendar and the planner start no goroutine and lock nothing
# (tests/house holds ours to that): they are left out.
UNRACED = golang.org/x/crypto/blowfish github.com/mfpgate/mfpgate/calendar github.com/mfpgate/mfpgate/scheduler/load github.com/mfpgate/mfpgate/scheduler/repair github.com/mfpgate/mfpgate/scheduler/plan
# Without paths in them, what is compiled in one clone serves the next.
RACE = -trimpath -race $(UNRACED:%=-gcflags=%=-race=false)
# Each process waits at its end for reports of other threads, by default a second: tests start hundreds.
export GORACE = atexit_sleep_ms=50

.PHONY: help run test test-long check deps build bench vm fresh lint clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

build: ## bin/mfpgate, bin/mfpcloud and bin/mfpsim
	$(if $(NOUSB),@echo '$(USB_IS_OFF)')
	$(BUILD) -o bin/ ./cmd/...

run: build ## a whole site on this machine: gateway, two clouds, eight simulated MFPs; Ctrl-C ends it
	$(BUILD) -o bin/ ./tests/site
	@exec bin/site

deps: ## install what the tests need, or say how
	@tests/deps.sh

# Tests that are processes wait more than they compute: three packages at once keep two processors busy.
test: deps lint ## everything that CI runs
	$(GOFLAGS_RACE) $(GO) test $(RACE) -p 3 -timeout 9m ./...

test-long: ## what takes longer: many more kills of the gateway, of its store and of moves between regions
	$(GOFLAGS_RACE) $(GO) test $(RACE) -tags long$(NOUSB:%=,%) -timeout 40m ./tests/crash ./tests/schedule ./tests/registration ./tests/moves ./tests/usb/... ./broker/region/...

check: ## the inner loop: no race detector, no root, under two minutes
	CGO_ENABLED=$(USB) $(GO) vet ./...
	CGO_ENABLED=$(USB) $(GO) test -short $$($(GO) list ./... | grep -vE '/(systemd|tests/(browser|vm|load|crash|devices|lan|reports|registration|schedule|moves|usb))$$')

lint: ## format, vet and staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$unformatted" ] || { echo "gofmt -w $$unformatted"; exit 1; }
	CGO_ENABLED=$(USB) $(GO) vet ./...
	CGO_ENABLED=0 $(GO) vet ./usb/libusb
	CGO_ENABLED=$(USB) $(GO) tool -modfile=tests/tools/go.mod staticcheck ./...

BENCH ?= relay
bench: build ## measure beside real peers: make bench BENCH=relay, discovery, schedule, registration, moves or usb
	CGO_ENABLED=$(USB) $(GO) run ./tests/bench -run $(BENCH) -out bin/bench.json

vm: deps ## printers on USB on a real kernel, under the installed service, in a virtual machine; the first time makes it (root, some minutes)
	@tests/deps.sh guest/apt.txt
	CGO_ENABLED=1 NEED=all $(GO) test -tags vm -count=1 -v -timeout 45m ./tests/guest

fresh: ## both README commands inside a minimal Debian root
	tests/fresh/fresh.sh

clean: ## remove what the targets made
	rm -rf bin run .cache
