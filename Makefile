# holdfast. "make help" says what there is.

PREFIX  ?= /usr/local
# Where Debian's zsh looks, which differs.
ZSHDIR   ?= $(PREFIX)/share/zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
DESTDIR ?=
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/lib/systemd/system,/etc/systemd/system)

GO       ?= go
DEPS     ?= scripts/deps.sh
FUZZTIME ?= 30s
RUN      ?= .
# Of make sim: the first of its schedules.
SEED     ?= 1
# "holdfast version" reads the stamp of the commit from the build, where git answers.
VCS      := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo true || echo false)
# Tests need root, for network namespaces. The lab makes do with a user namespace.
ROOT     := scripts/root.sh
TOOL     := $(GO) tool -modfile=tools.mod
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.DEFAULT_GOAL := help
.PHONY: help build test test-openstack test-package check race race-pure demo lab bench page sim graph lint fmt cover fuzz install uninstall stage deb rpm release deps clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/holdfast
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(VCS) -ldflags='-s -w' -o bin/holdfast ./cmd/holdfast

# The lab's clouds, and keepalived beside our VRRP, want the machine to themselves; the other packages can do with half of it.
ALONE    := ./internal/vrrp/link ./internal/lab ./internal/lab/bench
TESTARGS := -count=1 -timeout=45m -exec=$(abspath $(ROOT)) -run='$(RUN)'
TEST     := $(GO) test $(TESTARGS)
# Some tests run whole clouds, whose agents need a processor when they need it, on whatever
# machine this is. What failed runs once more, and is named at the end, whatever came of it.
TWICE    := $(TOOL) gotestsum --format=pkgname-and-test-fails --format-icons=text --hide-summary=skipped \
	--rerun-fails=1 --rerun-fails-max-failures=4 --rerun-fails-run-root-test

test: deps build check ## Run every test, as root where one needs it
	@failed=0; ran=$$(mktemp -d); \
	$(TWICE) --rerun-fails-report=$$ran/1 --packages="$$($(GO) list ./... | grep -vxF "$$($(GO) list $(ALONE))")" -- $(TESTARGS) -p 2 || failed=1; \
	$(TWICE) --rerun-fails-report=$$ran/2 --packages="$(ALONE)" -- $(TESTARGS) -p 1 || failed=1; \
	if [ -s $$ran/1 ] || [ -s $$ran/2 ]; then echo "These failed, and ran once more:"; cat $$ran/*; fi; \
	rm -r $$ran; exit $$failed

test-openstack: ## Run the tests against real Keystone, on Debian 12
	test/openstack/run.sh

check:
	@unformatted=$$(gofmt -l cmd deploy internal packaging *.go) && [ -z "$$unformatted" ] || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

fmt: ## Format the Go code
	gofmt -w cmd deploy internal packaging *.go

cover: deps build ## Say what tests reach; cover.html has the lines
	$(TEST) -short -p 1 -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -html=cover.out -o cover.html
	@$(GO) tool cover -func=cover.out | tail -1

race: deps build ## Run every test under the race detector
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout=30m -exec=$(abspath $(ROOT)) -run='$(RUN)' ./...

# What architecture_test.go calls pure. The tests of haproxy run HAProxy, and count its time.
PURE     := auth status catalog spec bgp cloud vrrp vrrp/sim conflict ether haproxy haproxy/output keystone importer dns dns/wire doctor certificate health reach incident notify traffic web/page
SEEDS    := $$(grep -rl '^func Fuzz' --include=*_test.go internal | xargs -n1 dirname | sort -u | sed 's|^|./|')

race-pure: ## The race detector on the pure packages, and on every parser's fuzz seeds
	CGO_ENABLED=1 $(GO) test -race -short -count=1 $(addprefix ./internal/,$(filter-out haproxy,$(PURE)))
	CGO_ENABLED=1 $(GO) test -race -short -count=1 -run='^(Fuzz|Example)' $(SEEDS)

demo: deps build ## Break the proposal's cloud, and show what clients see
	bin/holdfast lab demo

lab: deps build ## A sample cloud, up until Ctrl-C, to play with
	bin/holdfast lab up

bench: deps build ## Measure all, beside keepalived (25 minutes)
	bin/holdfast lab bench --save docs/benchmarks

page: deps ## Take the pictures of docs/page
	$(GO) test -count=1 ./internal/web -run='^TestShots$$' -shots=$(abspath docs/page)

FAILOVERS ?= 1000000

sim: ## A million failovers of the VRRP machines in virtual time (some ten minutes on two cores)
	$(GO) run ./internal/vrrp/sim/simulate -failovers $(FAILOVERS) -seed $(SEED)

graph: ## Draw the imports in docs/architecture.md, and say how large packages are
	$(GO) test -count=1 -v -run='^TestImportsAreDrawn$$' . -update

lint: check ## golangci-lint, known vulnerabilities, go.mod
	$(GOLANGCI) run
	$(GO) mod tidy -diff
	@if curl -sfo /dev/null https://vuln.go.dev/index/db.json; then $(TOOL) govulncheck ./...; \
		else echo "known vulnerabilities: not looked up, vuln.go.dev does not answer"; fi

fuzz: ## Fuzz every parser for FUZZTIME (30s) each
	@for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) $$package || exit 1; \
		done; \
	done

install: build ## Install binary, unit, man pages and completions
	install -D -m 755 bin/holdfast $(DESTDIR)$(PREFIX)/bin/holdfast
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(PREFIX)/share/man/man8 $(DESTDIR)/etc/holdfast/tls
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' packaging/systemd/holdfast.service > $(DESTDIR)$(UNITDIR)/holdfast.service
	install -m 0644 packaging/systemd/holdfast.socket $(DESTDIR)$(UNITDIR)/holdfast.socket
	[ -e $(DESTDIR)/etc/default/holdfast ] || install -D -m 644 packaging/default/holdfast $(DESTDIR)/etc/default/holdfast
	install -D -m 0644 deploy/systemd/holdfast.catalog $(DESTDIR)$(PREFIX)/lib/systemd/catalog/holdfast.catalog
	[ -n "$(DESTDIR)" ] || journalctl --update-catalog || true
	bin/holdfast man $(DESTDIR)$(PREFIX)/share/man/man8
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(ZSHDIR) \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	bin/holdfast completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/holdfast
	bin/holdfast completion zsh > $(DESTDIR)$(ZSHDIR)/_holdfast
	bin/holdfast completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/holdfast.fish

uninstall: ## Take holdfast out of service here, and what "make install" put here away; the spec and state stay
	[ -n "$(DESTDIR)" ] || packaging/leave.sh $(PREFIX)/bin/holdfast
	rm -f $(DESTDIR)$(PREFIX)/bin/holdfast $(DESTDIR)$(UNITDIR)/holdfast.service $(DESTDIR)$(UNITDIR)/holdfast.socket \
		$(DESTDIR)$(PREFIX)/lib/systemd/catalog/holdfast.catalog $(DESTDIR)$(PREFIX)/share/man/man8/holdfast.8 $(DESTDIR)$(PREFIX)/share/man/man8/holdfast-*.8 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/holdfast $(DESTDIR)$(ZSHDIR)/_holdfast $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/holdfast.fish
	[ -n "$(DESTDIR)" ] || { systemctl daemon-reload; journalctl --update-catalog; } || true
	@echo "left: $(DESTDIR)/etc/holdfast, $(DESTDIR)/etc/default/holdfast and $(DESTDIR)/var/lib/holdfast, which are yours"

# Packages. A commit that is tagged vX.Y.Z is that release; any other one is before the next.
ARCH     ?= $(shell $(GO) env GOARCH)
COMMITTED := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
RELEASE  := $(shell sed -n 's/^const release = "\(.*\)"/\1/p' internal/cli/version.go)
VERSION  ?= $(if $(filter v$(RELEASE),$(shell git tag --points-at HEAD 2>/dev/null)),$(RELEASE),$(RELEASE)~git$(shell date -u -d @$(COMMITTED) +%Y%m%d%H%M%S).$(shell git rev-parse --short=8 HEAD 2>/dev/null || echo unknown))
DATE     := $(shell date -u -d @$(COMMITTED) +%Y-%m-%dT%H:%M:%SZ)
# Tools of releases only, apart from those of the tests.
SHIPTOOL := $(GO) tool -modfile=packaging/tools.mod
# Whoever builds packages for others puts the own name there.
MAINTAINER ?= $(shell git log -1 --format='%an <%ae>' 2>/dev/null)
# By the environment: a name may have an apostrophe.
stage deb rpm release: export MAINTAINER := $(MAINTAINER)
NFPM     := ARCH=$(ARCH) VERSION='$(VERSION)' SOURCE_DATE_EPOCH=$(COMMITTED) $(SHIPTOOL) nfpm package --config packaging/nfpm.yaml --target bin/package

stage:
	VERSION='$(VERSION)' DATE=$(DATE) packaging/stage.sh

deb: stage ## Build bin/package/holdfast_VERSION_ARCH.deb
	$(NFPM) --packager deb

rpm: stage ## Build bin/package/holdfast-VERSION.ARCH.rpm
	$(NFPM) --packager rpm

release: stage ## Build both packages, the SBOM (CycloneDX) and SHA256SUMS in bin/package
	$(NFPM) --packager deb
	$(NFPM) --packager rpm
	install -m 755 bin/holdfast bin/package/holdfast
	$(SHIPTOOL) cyclonedx-gomod bin -json -noserial -notimestamp -version '$(VERSION)' -output bin/package/holdfast.cdx.json bin/holdfast
	cd bin/package && sha256sum holdfast holdfast.cdx.json *.deb *.rpm > SHA256SUMS && cat SHA256SUMS

test-package: ## Try the packages in a clean Debian with systemd: as root, some minutes
	test/package/run.sh

deps: ## Install what tests and the lab need, through apt
	@$(DEPS)

clean: ## Remove what was built
	rm -rf bin cover.out cover.html
