# Each target is one call of scripts/bootstrap.py, which makes .venv/ first where it is missing or out of date.
# Written for GNU make 3.81 and later (macOS ships that one).

# The first Python that can do it; if none can, whichever there is, so that it can say so itself.
PYTHON = $(shell \
	for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
		if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; exit; fi; \
	done; \
	for p in python3 python python2; do \
		if $$p -c 'pass' >/dev/null 2>&1; then echo $$p; exit; fi; \
	done; \
	echo missing)
BOOTSTRAP = @p='$(PYTHON)'; \
	if [ "$$p" = missing ]; then echo 'MeetViz needs Python 3.11 or newer, and none was found.' >&2; exit 1; fi; \
	exec $$p scripts/bootstrap.py

.PHONY: help run demo test bench lint clean

help:
	@echo 'make run     serve MeetViz at http://localhost:8000 (PORT=8001 make run for another port)'
	@echo 'make demo    the same, with a demo meeting that plays itself'
	@echo 'make test    run every test that this machine can run'
	@echo 'make bench   measure; make bench NAME for one'
	@echo 'make lint    style and import directions only'
	@echo 'make clean   remove .venv/ and caches; var/ with your data stays'

run:
	$(BOOTSTRAP) run

demo:
	$(BOOTSTRAP) demo

test:
	$(BOOTSTRAP) test $(ARGS)

lint:
	$(BOOTSTRAP) lint

# `make bench painting`: the words after `bench` are names of benchmarks, not targets.
ifeq (bench,$(firstword $(MAKECMDGOALS)))
BENCH_NAMES := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
ifneq (,$(BENCH_NAMES))
.PHONY: $(BENCH_NAMES)
$(BENCH_NAMES):
	@:
endif
endif

bench:
	$(BOOTSTRAP) bench $(BENCH_NAMES) $(NAME)

clean:
	$(BOOTSTRAP) clean
