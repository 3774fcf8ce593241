# Perilune. `make help` lists the targets.
VERSION := 0.1.0
PREFIX ?= /usr/local
B ?= build
CC ?= gcc
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wwrite-strings -Wvla -Wdouble-promotion
ifeq ($(WERROR),1)
WARN += -Werror
endif
ARCH_LIB := /usr/lib/$(shell uname -m)-linux-gnu
# Static where Debian has the archives: the dynamic loader is most of a short program's start.
ARCHIVES := $(ARCH_LIB)/liblua5.4.a $(ARCH_LIB)/liblua5.4-cjson.a $(ARCH_LIB)/libuv_a.a $(ARCH_LIB)/libsqlite3.a
LIBS := $(ARCHIVES) -lpthread -ldl -lm
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -DPERILUNE_VERSION='"$(VERSION)"' -I/usr/include/lua5.4 $(WARN) $(CFLAGS)
ALL_LDFLAGS := -Wl,-E $(LDFLAGS)
Q := $(if $(V),,@)

C_FILES := $(wildcard src/*.c src/*/*.c)
OBJECTS := $(C_FILES:src/%.c=$(B)/%.o)
LIB_OBJECTS := $(filter-out $(B)/main.o,$(OBJECTS))
EMBEDDED := $(sort $(shell find lua db -name '*.lua' -not -path '*/meta/*' -o -name '*.sql'; find scripts/project -type f))
FAULT_TOOLS := $(B)/tests/fault_server $(B)/tests/world.so
TOOL_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARN) -O1 -g
C_TESTS := $(patsubst tests/c/%.c,$(B)/tests/%,$(wildcard tests/c/test_*.c))

all: $(B)/perilune ## build build/perilune (default)

$(B)/perilune: $(B)/main.o $(LIB_OBJECTS) $(B)/embed.o
	@echo LINK $@
	$(Q)$(CC) $(CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(B)/%.o: src/%.c | packages
	@mkdir -p $(@D); echo CC $<
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# lua/, db/ and the project that `perilune init` writes inside the binary, as they are.
$(B)/embed.list: FORCE
	@mkdir -p $(@D); wc -c $(EMBEDDED) > $@.new; cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/embed.c: $(B)/embed.list src/base/embed.awk
	$(Q)awk -f src/base/embed.awk $< > $@

$(B)/embed.o: $(B)/embed.c $(EMBEDDED)
	@echo EMBED $(words $(EMBEDDED)) files
	$(Q)$(CC) $(ALL_CFLAGS) -Isrc -c -o $@ $<

$(B)/tests/%: tests/c/%.c $(LIB_OBJECTS) $(B)/embed.o | packages
	@mkdir -p $(@D); echo CC $<
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP $(ALL_LDFLAGS) -Isrc -Itests/c -o $@ $(filter %.c %.o,$^) $(LIBS)

# What the specs of tests/faults play with; never sanitized, it is not what they test.
$(B)/tests/fault_server: tests/faults/server.c tests/faults/script.c tests/faults/script.h | packages
	@mkdir -p $(@D); echo CC $<
	$(Q)$(CC) $(TOOL_CFLAGS) -o $@ $(filter %.c,$^)

$(B)/tests/world.so: tests/faults/world.c | packages
	@mkdir -p $(@D); echo CC $<
	$(Q)$(CC) $(TOOL_CFLAGS) -fPIC -shared -o $@ $< -ldl

demo: all ## build and run the main job: an assistant with a tool, on a thread that survives
	@echo; $(B)/perilune run scripts/tools.lua

test: all $(C_TESTS) $(FAULT_TOOLS) | test-packages ## run every suite
	$(Q)B=$(B) tests/run.sh

test-c: $(C_TESTS) ## run the C tests only
	$(Q)B=$(B) tests/run.sh c

test-unit: all | test-packages ## run the unit specs only
	$(Q)B=$(B) tests/run.sh unit

test-integration: all | test-packages ## run the integration specs only
	$(Q)B=$(B) tests/run.sh integration

test-faults: all $(FAULT_TOOLS) | test-packages ## play every line of docs/faults.md only
	$(Q)B=$(B) tests/run.sh faults

test-abuse: all $(addprefix $(B)/tests/test_,abuse proxies serve_ends) | test-packages ## play every line of docs/abuse.md only
	$(Q)for name in abuse proxies serve_ends; do $(B)/tests/test_$$name || exit 1; done; $(B)/perilune test tests/integration/abuse_spec.lua

test-conformance: all | test-packages ## run what we send and answer past other people's programs (needs node and npm)
	$(Q)B=$(B) tests/run.sh conformance

campaign: all | test-packages ## kill -9 at KILLS (default 500) random moments while credits are held and settled; make test does 12
	$(Q)KILLS=$(or $(KILLS),500) $(B)/perilune test tests/integration/ledger_spec.lua

asan: ## the whole test suite under AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)$(MAKE) --no-print-directory B=build-asan CFLAGS="-O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined" test

fuzz: | packages ## fuzz every parser for SECONDS (default 60) each
	$(Q)tests/fuzz/run.sh $(or $(SECONDS),60)

fuzz-decoders: all ## damage recordings COUNT (default 1000000) times and decode them
	$(Q)$(B)/perilune run tests/fuzz/decoders.lua $(or $(COUNT),1000000) $(or $(SEED),1)

bench: all ## measure, beside public JavaScript SDKs (needs node, npm and nginx)
	$(Q)B=$(B) tests/bench/run.sh

lint: | test-packages ## layers, luacheck, meta coverage, banned calls, warnings as errors with gcc and clang
	$(Q)tests/lint/run.sh
	$(Q)$(MAKE) --no-print-directory B=build-lint WERROR=1 CFLAGS=-O1 build-lint/perilune >/dev/null
	$(Q)if command -v clang >/dev/null; then $(MAKE) --no-print-directory B=build-lint-clang CC=clang WERROR=1 CFLAGS=-O1 build-lint-clang/perilune >/dev/null; fi
	@echo lint: clean

sizes: ## the longest functions and files
	@tests/lint/sizes.sh

fmt: ## format the C sources
	clang-format -i $(C_FILES) $(wildcard src/*/*.h)

install: all ## put the binary into PREFIX/bin
	install -D -m 755 $(B)/perilune $(DESTDIR)$(PREFIX)/bin/perilune

clean: ## remove what was built
	rm -rf build build-asan build-lint build-lint-clang build-fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' Makefile

packages:
	@tests/packages.sh build

test-packages:
	@tests/packages.sh test

FORCE:
.PHONY: all demo test test-c test-unit test-integration test-faults test-abuse test-conformance campaign asan fuzz fuzz-decoders bench lint sizes fmt install clean help packages test-packages FORCE
-include $(wildcard $(B)/*.d $(B)/*/*.d)
