# Build, test, measure and install lyquor. `make help` lists the targets.
#
# Go keeps its own build cache and knows what is stale: the Go rules always run `go build`, quick when nothing changed.

SHELL   := /bin/bash
CC      ?= gcc
GO      ?= go
PYTHON  ?= python3
PREFIX  ?= /usr/local
DESTDIR ?=

# The release, and the number in the soname, which rises only when a program built against an older one would break.
VERSION := 0.1.0
ABI     := 0
SONAME  := liblyquor.so.$(ABI)
MAP     := $(CURDIR)/capi/lyquor.map
CFLAGS  ?= -O2 -g
C_WARN  := -std=gnu11 -Wall -Wextra -Wpedantic -Werror

# Go does not look at headers outside a cgo package when it decides whether that package is stale. Their checksum in a
# flag (part of the cache's key) makes it notice a change of include/lyquor.h; never build capi with other flags.
HEADERS := $(wildcard include/*.h capi/*.h)
STAMP   := $(shell cat $(HEADERS) /dev/null | cksum | cut -d' ' -f1)
export CGO_ENABLED := 1
export CGO_CFLAGS  := -O2 -g -DLYQ_HEADERS_STAMP=$(STAMP)

GO_BUILD  := $(GO) build -trimpath -buildvcs=false
LINK_SO   := -Wl,-soname,$(SONAME) -Wl,--version-script=$(MAP) -Wl,-z,relro -Wl,-z,now -Wl,-z,defs
TOOLS     := $(addprefix build/,lyqcat lyqperf)
# A tool finds the library beside it (in build/) or in the lib directory of the prefix where both were installed.
TOOL_LINK := -Lbuild -llyquor -pthread -Wl,-rpath,'$$ORIGIN:$$ORIGIN/../lib'

# $(call need,TOOL...) stops with the names of all tools that are missing, before a compiler says it less plainly.
need = @missing=; for t in $(1); do command -v $$t >/dev/null || missing="$$missing $$t"; done; \
	if [ -n "$$missing" ]; then echo "make: please install:$$missing" >&2; exit 1; fi

.PHONY: all
all: build/liblyquor.so build/liblyquor.a $(TOOLS) ## Build the library, shared and static, and the tools (the default).

.PHONY: check-tools
check-tools:
	$(call need,$(GO) $(CC) ld ar objcopy cmp)

.PHONY: FORCE
FORCE:

build/liblyquor.so: FORCE | check-tools
	@mkdir -p build
	@if [ $(MAP) -nt $@ ]; then rm -f $@; fi # Go does not know the version script either.
	$(GO_BUILD) -buildmode=c-shared -ldflags="-s -w -extldflags '$(LINK_SO)'" -o $@ ./capi
	@rm -f build/liblyquor.h # Go writes a header of its own; include/lyquor.h is the only one that is meant.
	@ln -sf liblyquor.so build/$(SONAME)

# One relocatable object in which everything but the API is local: two Go archives in one program, or a program with
# names like ours, then do not collide. Made again only when Go made another archive.
build/liblyquor.a: FORCE | check-tools
	@mkdir -p build/archive
	$(GO_BUILD) -buildmode=c-archive -ldflags="-s -w" -o build/archive/go.a ./capi
	@if ! cmp -s build/archive/go.a build/archive/last.a || [ ! -f $@ ]; then \
		set -e; \
		ld -r -d --whole-archive build/archive/go.a -o build/archive/lyquor.o; \
		objcopy --wildcard --keep-global-symbol='lyq_*' build/archive/lyquor.o; \
		rm -f $@; \
		ar rcsD $@ build/archive/lyquor.o; \
		cp build/archive/go.a build/archive/last.a; \
	fi

# A tool is examples/c/NAME.c and, where it is larger, examples/c/NAME_*.c.
.SECONDEXPANSION:
C_HEADERS := $(wildcard include/*.h examples/c/*.h)
$(TOOLS): build/%: examples/c/%.c $$(wildcard examples/c/$$*_*.c) $(C_HEADERS) | build/liblyquor.so
	$(CC) $(C_WARN) $(CFLAGS) -Iinclude $(filter %.c,$^) -o $@ $(TOOL_LINK)

.PHONY: demo
demo: all ## Send the Go toolchain's sources through two processes, also of C, Python and Rust, and compare checksums.
	$(call need,tar sha256sum timeout $(PYTHON) cargo)
	@tests/demo/demo.sh
	@tests/demo/pairs.sh

.PHONY: test
test: all ## Run every test suite; the last line counts all of them (.ci/run installs what they need).
	$(call need,$(PYTHON) $(CXX) pkg-config cmake node valgrind cargo qemu-aarch64 aarch64-linux-gnu-gcc)
	@tests/run.sh

.PHONY: fuzz-smoke
fuzz-smoke: ## Run each fuzz target (FUZZ_RUNS=30000 inputs each), and random API calls (FUZZ_SECONDS=10).
	$(call need,$(GO) $(PYTHON))
	@tests/run.sh fuzz

# N seeds from SEED on; N=1 says what a failing one does.
SEED ?= 1
N    ?= 1
.PHONY: sim
sim: ## Simulate N=1 random worlds from SEED=1 on, and print the first that breaks the promise, made smaller.
	$(call need,$(GO))
	@$(GO) run ./tests/sim -seed $(SEED) -n $(N)

.PHONY: sim-planted
sim-planted: ## Plant bugs in the engine, and say which world notices each (PLANTED_FLAGS="-only rewind").
	$(call need,$(GO))
	@$(GO) run ./tests/planted $(PLANTED_FLAGS)

.PHONY: mutants
mutants: N := 60
mutants: ## Run the tests of endpoint and outbox on N=60 mutants of each, drawn by SEED=1 (MUTANTS_FLAGS="-sim 200 -v").
	$(call need,$(GO))
	@nice -n 10 $(GO) run ./tests/mutants -seed $(SEED) -n $(N) $(MUTANTS_FLAGS)

# BENCH_FLAGS, such as "--rounds 5", are for the first of the three; with --row or --only there are no others.
.PHONY: bench
bench: all ## Measure against libzmq and bare TCP, Python against pyzmq, Rust against C; writes docs/bench*.
	$(call need,$(PYTHON) $(CC))
	@$(PYTHON) tests/bench/bench.py $(BENCH_FLAGS)
	$(if $(filter --row% --only%,$(BENCH_FLAGS)),,@tests/bench/python.sh $(PYTHON_BENCH_FLAGS))
	$(if $(filter --row% --only%,$(BENCH_FLAGS)),,@$(PYTHON) tests/bench/rust_bench.py $(RUST_BENCH_FLAGS))

.PHONY: bench-python
bench-python: all ## Measure Python alone, against pyzmq, asyncio and bare TCP (PYTHON_BENCH_FLAGS="--rounds 3").
	$(call need,$(PYTHON) $(CC))
	@tests/bench/python.sh $(PYTHON_BENCH_FLAGS)

.PHONY: bench-rust
bench-rust: all ## Measure Rust alone, against C, zmq, zenoh and bare tokio (RUST_BENCH_FLAGS="--rounds 3 --row 64").
	$(call need,$(PYTHON) $(CC) cargo cmake $(CXX))
	@$(PYTHON) tests/bench/rust_bench.py $(RUST_BENCH_FLAGS)

.PHONY: chaos
chaos: all ## Storms of a minute under cuts, stalls, stops, moves; kills (CHAOS_FLAGS="--seconds 8 --only storm-cuts").
	$(call need,$(GO) $(CC) $(PYTHON))
	@$(PYTHON) tests/chaos/run.py $(CHAOS_FLAGS)

RUNS ?= 100
.PHONY: slow
slow: all ## Run the tests of slow consumers with tiny windows so many times, and say how many runs passed (RUNS=100).
	$(call need,$(GO) $(CC))
	@tests/slow.sh $(RUNS)

.PHONY: exits
exits: all ## Run the Python package's tests of start, stop and exit so many times (RUNS=100).
	$(call need,$(PYTHON))
	@tests/exits.sh $(RUNS)

SOAK_SECONDS ?= 3600
.PHONY: soak
soak: all ## Watch for an hour what three busy programs hold: it may not grow (SOAK_SECONDS=60 SOAK_FLAGS="--seed 1").
	$(call need,$(GO) $(CC) $(PYTHON))
	@$(PYTHON) tests/chaos/soak.py --seconds $(SOAK_SECONDS) \
		$(if $(filter 3600,$(SOAK_SECONDS)),--write docs/soak.json) $(SOAK_FLAGS)

.PHONY: schema
schema: ## Generate engine/wire/fb from schema/*.fbs.
	$(call need,$(GO) cmake c++)
	@schema/generate.sh

.PHONY: wheel
wheel: check-tools ## Build the Python package as a wheel in build/wheel, and check its tag and what it links to.
	$(call need,$(PYTHON) objdump)
	@tests/packaging/wheel.sh

# Configuration files are made from packaging/*.in, with the prefix left as it is without DESTDIR.
fill = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(VERSION)|g' -e 's|@ABI@|$(ABI)|g'
CMAKE_DIR := $(DESTDIR)$(PREFIX)/lib/cmake/lyquor

.PHONY: install
install: all ## Install header, libraries, tools, pkg-config and CMake files (PREFIX=/usr/local DESTDIR=).
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,include lib/pkgconfig bin) $(CMAKE_DIR)
	install -m 644 include/lyquor.h $(DESTDIR)$(PREFIX)/include/lyquor.h
	install -m 755 build/liblyquor.so $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/liblyquor.so
	install -m 644 build/liblyquor.a $(DESTDIR)$(PREFIX)/lib/liblyquor.a
	install -m 755 $(TOOLS) $(DESTDIR)$(PREFIX)/bin/
	$(fill) packaging/lyquor.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/lyquor.pc
	$(fill) packaging/lyquorConfig.cmake.in > $(CMAKE_DIR)/lyquorConfig.cmake
	$(fill) packaging/lyquorConfigVersion.cmake.in > $(CMAKE_DIR)/lyquorConfigVersion.cmake

.PHONY: env
env: ## Print the settings under which `go build ./capi` sees changed headers, as shell exports.
	@echo "export CGO_ENABLED='$(CGO_ENABLED)' CGO_CFLAGS='$(CGO_CFLAGS)'"

.PHONY: clean
clean: ## Remove everything that was built.
	rm -rf build

.PHONY: help
help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 15
