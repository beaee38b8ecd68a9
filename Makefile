# Two commands for a fresh machine: `make demo` and `make check`. All the work is
# done by the CMake presets (CMakePresets.json) and ctest.
#
# SPDX-License-Identifier: Apache-2.0

PRESET ?= release
JOBS ?= $(shell nproc)

.PHONY: help dependencies configure build demo check check-all clean
help:
	@echo 'make demo     packages, build, then import, quantize, compile and run the bundled model'
	@echo 'make check    packages, build, tests'
	@echo 'make check-all  the same and the sweeps over kernel shapes and damaged files'
	@echo 'make build    packages, build'
	@echo 'make clean    remove the build of PRESET (now: $(PRESET); others: dev, asan)'

# Installs Debian packages when some are missing; does nothing otherwise.
dependencies:
	@cmake/install-dependencies

configure: dependencies
	cmake --preset $(PRESET)

build: configure
	cmake --build --preset $(PRESET) --parallel $(JOBS)

# Only the tools: without the tests, half of the build.
demo: configure
	cmake --build --preset $(PRESET) --parallel $(JOBS) --target llq-tools
	@scripts/demo build/$(PRESET)/bin

# All tests but the sweeps over every kernel shape and damaged file: an hour.
check: build
	@scripts/run-tests $(PRESET) $(JOBS) -LE thorough

check-all: build
	@scripts/run-tests $(PRESET) $(JOBS)

clean:
	rm -rf build/$(PRESET)
