# Thin fronts for the presets of CMakePresets.json and for CTest. `make help` lists them.

.DEFAULT_GOAL := help
.PHONY: help run check soak deps build format lint bench coverage clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: ## install what is missing, build, and show the demo: its screen in a terminal, else every planted bug
	@.ci/install.sh run
	@.ci/build.sh release product
	@exec build/release/bin/kmemscope demo

check: ## all tests: release, then the sanitizer builds
	@.ci/install.sh run check
	@.ci/stages.sh release asan tsan

soak: ## the long figures (hours), with KMS_SOAK=1
	@.ci/install.sh run check
	@.ci/stages.sh release:soak asan:soak-asan

deps: ## install the Debian packages for building, testing and measuring
	@.ci/install.sh run check bench

build: ## build everything (preset release)
	@.ci/install.sh run
	@.ci/build.sh release all

format: ## bring the C sources into the project's format
	@.ci/check.sh format --fix

lint: ## every static check, clang-tidy over all files
	@.ci/install.sh run check
	@.ci/stages.sh dev:lint

bench: ## the measurements of bench/ next to their peers
	@.ci/install.sh run check bench
	@.ci/build.sh release all
	@cd build/release && KMS_BENCH=1 ctest -L '^bench$$' --no-tests=error -V

coverage: ## lines and branches that the tests reach
	@.ci/install.sh run check cover
	@mkdir -p build/coverage && find build/coverage -name '*.gcda' -delete
	@# gcov's runtime speaks on stderr and allocates: some tests of whole programs see that, and the figures count anyway
	-@.ci/stages.sh coverage
	@gcovr --root . --exclude '.*/test/' --exclude 'tests/' --print-summary \
		--txt build/coverage/coverage.txt build/coverage | tail -n 4

clean: ## remove all build output
	rm -rf build
