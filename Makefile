# make demo   set up, make small corpora, benchmark several upstreams, show the leaderboard
# make test   set up, check the style, run all tests
# Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
BENCHMARK := $(BIN)/python -m benchmark
SHOWN := "mini protocol, made-up corpora"
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

APT := --quiet -o Acquire::Retries=1 -o Acquire::http::Timeout=20

.PHONY: demo test browser clean

demo: .venv/for-demo
	$(BENCHMARK) run --mini --task ks sid ic er qbe --cache demo/cache --results demo/results \
		--upstream fbank fbank_no_cmvn mel_no_cmvn mfcc_no_cmvn examples/my_upstream.py
	$(BENCHMARK) run --mini --task pr asr asv sd ss qbe --cache demo/cache --results demo/results --upstream mel
	$(BENCHMARK) run --mini --task ks er --cache demo/cache --results demo/results --upstream examples/my_upstream.py --layers each
	@for format in md csv latex html json; do \
		$(BENCHMARK) leaderboard --results demo/results --reference none --format $$format --output demo/leaderboard.$$format || exit 1; done
	@for figure in layers layer-spread layer-scores lr "training --upstream mel" parallel radar; do \
		$(BENCHMARK) plot $$figure --results demo/results --board $(SHOWN) --output demo/`echo $$figure | cut -d " " -f 1`.png || exit 1; done
	@$(BENCHMARK) compare fbank fbank_no_cmvn --results demo/results
	@$(BENCHMARK) report --results demo/results --output demo/report
	@echo
	@$(BENCHMARK) leaderboard --results demo/results --reference none --protocol mini
	@echo
	@echo "to open in a browser: demo/report/index.html   figures: demo/*.png   the board for a paper: demo/leaderboard.latex"
	@echo "rows, predictions, training curves and heads: demo/results   small corpora: demo/cache/mini"
	@echo "a separated mixture, to listen to and as a picture: `ls -d demo/results/mel/ss/*/example`"
	@echo "beside the published rows: $(BENCHMARK) leaderboard --results demo/results"

test: .venv/for-test browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The tests of the report look at it in Chromium, and are skipped where there is none.
browser:
	@command -v chromium >/dev/null || { \
		[ "`id -u`" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium, for the tests of the report" && \
		apt-get $(APT) update >/dev/null 2>&1 && \
		apt-get $(APT) install --yes --no-install-recommends chromium >/dev/null 2>&1; } || \
		echo "no chromium: the tests of the report in a browser are skipped. On Debian: apt-get install chromium"

.venv/for-demo: .venv/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[mini,lm,plots,qbe]'
	@touch $@

.venv/for-test: .venv/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev]'
	@touch .venv/for-demo $@

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "sslbench needs Python 3.11 or newer, $(PYTHON) is `$(PYTHON) --version 2>&1`." \
		"Type: make $(MAKECMDGOALS) PYTHON=python3.12 (or wherever a newer one is)"; exit 1; }
	@$(PYTHON) -m venv .venv || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

clean:
	rm -rf .venv demo
