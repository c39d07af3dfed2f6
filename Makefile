# What a developer types. Everything needs Go alone, save interop, which wants the
# peers installed (see internal/interop), and lint, which wants golangci-lint v2.

GO     ?= go
# A count, not a time: before Go 1.27 the end of a time may fail a sound target (go.dev/issue/75804).
FUZZ   ?= 50000x
RACE   ?=
# Of bench-peers, as in PEERS="-rounds 9 -idle 3000".
PEERS  ?=

.PHONY: test race lint vet fuzz interop bench bench-peers bench-front dist

test:
	$(GO) test -timeout 5m $(RACE) ./...

race:
	$(MAKE) test RACE=-race

lint:
	golangci-lint run ./...
	golangci-lint run --build-tags interop ./internal/interop/...
	golangci-lint run --build-tags peers ./internal/bench/...

# Every system that byway is built for must compile and vet, tests included.
vet:
	@for os in linux darwin windows freebsd; do \
		echo "vet $$os"; GOOS=$$os CGO_ENABLED=0 $(GO) vet ./... || exit 1; done
	$(GO) vet -tags interop ./internal/interop/...
	$(GO) vet -tags peers ./internal/bench/...

# Each fuzz target in turn, $(FUZZ).
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		dir=$$($(GO) list -f '{{.Dir}}' $$pkg); \
		for target in $$(cat $$dir/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do \
			echo "fuzz $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZ) -fuzzminimizetime 1x $$pkg || exit 1; \
		done; done

interop:
	$(GO) test -tags interop -timeout 15m -count=1 ./internal/interop

bench:
	$(GO) test -run '^$$' -bench . -benchtime 1s ./...

# Beside whatever other proxies are on the PATH (see internal/bench). Linux; as root for all of it.
bench-peers:
	$(GO) test -tags peers -count 1 -v -timeout 15m -run Peers ./internal/bench $(PEERS)

# The website beside other reverse proxies. Wants wrk and nginx.
bench-front:
	$(GO) test -tags peers -count 1 -v -timeout 15m -run FrontPeers ./internal/bench $(PEERS)

# What is released, into dist/ (see packaging/dist). PLATFORMS="linux/amd64" builds less.
dist:
	packaging/dist
