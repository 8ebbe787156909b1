# Everything happens in .venv in this checkout. PYTHON is the interpreter that makes it (3.10 or later, tested on 3.11).
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PACKAGES := qemu-system-arm ipxe-qemu mmdebstrap e2fsprogs cpio zstd openssh-client openssh-server adb chromium

export ORT_DISABLE_TELEMETRY := 1

.PHONY: demo test test-browser test-devices test-all tools lint peers arm openvino-arm gates boards overhead noise training clean help
.DEFAULT_GOAL := help

help:  ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q -c constraints.txt -e '.[dev]'
	touch $@

demo: $(STAMP)  ## trained demo models -> bundles -> measured on this machine -> demo/report.html
	$(BIN)/edgeconv quickstart --force

test: lint  ## style, types and the tests; less than 20 minutes on 2 cores
	$(BIN)/python -m pytest -m 'not slow and not device and not browser'

test-browser: $(STAMP) tools  ## the reports in a headless browser
	EDGECONV_NO_SKIP=1 $(BIN)/python -m pytest -m browser

test-devices: $(STAMP) tools  ## boards under QEMU, real sshd and adb, reports in a headless browser
	EDGECONV_NO_SKIP=1 $(BIN)/python -m pytest -m '(device or browser) and not slow'

test-all: lint tools  ## everything
	EDGECONV_NO_SKIP=1 $(BIN)/python -m pytest

tools:  ## install the system packages that the device tests need (Debian and Ubuntu)
	@missing=$$(for package in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || echo $$package; done); \
	if [ -z "$$missing" ]; then exit 0; \
	elif [ "$$(id -u)" = 0 ]; then apt-get -q update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $$missing; \
	else echo "install these first: sudo apt-get install" $$missing; exit 1; fi

lint: $(STAMP)  ## ruff and mypy
	$(BIN)/ruff check edgeconv tests
	$(BIN)/ruff format --check edgeconv tests
	$(BIN)/mypy

peers: $(STAMP)  ## our figures beside the peers', each peer in an environment of its own
	$(BIN)/python tests/peers/compare.py

arm: $(STAMP)  ## int8 latencies in instructions of an emulated Cortex-A76 -> docs/arm.md
	$(BIN)/python tests/peers/arm.py

openvino-arm: $(STAMP)  ## which convolutions pay on integers in OpenVINO on ARM -> docs/openvino-arm.md
	$(BIN)/python tests/peers/openvino_arm.py

gates: $(STAMP)  ## the forms of gate maps beside each other -> docs/gates.md; needs a quiet machine
	$(BIN)/python tests/peers/gates.py

boards: $(STAMP) tools  ## the same files on a Cortex-A72, a Cortex-A76 and this machine -> docs/boards.md
	$(BIN)/python -m tests.devices.boards_page

overhead: $(STAMP)  ## what our harness adds, beside the runtimes' own tools; needs a quiet machine
	$(BIN)/python tests/peers/overhead.py

noise: $(STAMP)  ## ten pairs of runs: how well two runs agree; needs a quiet machine
	$(BIN)/python tests/peers/noise.py

training: $(STAMP)  ## training throughput of the layers beside plain formulations
	$(BIN)/python tests/peers/training.py

clean:  ## remove the environment and what demo made
	rm -rf $(VENV) demo build dist
