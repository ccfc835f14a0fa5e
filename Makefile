# `make run` and `make test` do everything on a fresh machine; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check -qq
STATIC_SOURCES := $(shell find static -type f -not -path 'static/vendor/*')
DEV_SOURCES := brokerd tunnels terminals tests bench tools manage.py

.PHONY: run test check format bench soak agent screenshots assets lock clean
# One pip at a time in one virtual environment
.NOTPARALLEL:

run: $(VENV)/.runtime staticfiles/.done
	@$(BIN)/python tools/run.py

test: $(VENV)/.dev staticfiles/.done
	@tools/test_needs.sh
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.dev
	@$(BIN)/ruff check $(DEV_SOURCES)
	@$(BIN)/ruff format --check $(DEV_SOURCES)
	@$(BIN)/mypy

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix $(DEV_SOURCES)
	@$(BIN)/ruff format $(DEV_SOURCES)

bench: $(VENV)/.dev staticfiles/.done
	@tools/test_needs.sh
	@$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.dev staticfiles/.done
	@tools/test_needs.sh
	@$(BIN)/python -m bench.soak $(ARGS)

# The pictures of the README, taken anew by the test that clicks through its story
screenshots: $(VENV)/.dev staticfiles/.done
	@$(BIN)/python -m pytest tests/browser/test_first_run.py
	@mkdir -p docs/screenshots && cp test-results/hosts.png test-results/approvals.png test-results/terminal.png docs/screenshots/

# A wheel for distant machines, dist/brokerd_agent-*.whl; AsyncSSH is all that it needs, and setuptools to build it
agent: | $(BIN)/python
	@sed -n '/^setuptools==/,/[^\\]$$/p' requirements-dev.txt >$(VENV)/setuptools.txt
	@$(PIP) install --require-hashes -r $(VENV)/setuptools.txt
	@$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build brokerd_agent.egg-info
	@ls dist/brokerd_agent-*.whl

assets: staticfiles/.done

# New pins after a change of requirements*.in
lock: $(VENV)/.dev
	@for name in requirements requirements-dev requirements-node; do \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --custom-compile-command "make lock" $$name.in -o $$name.txt || exit 1; \
	done

clean:
	rm -rf $(VENV) node_modules static/vendor staticfiles

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "brokerd needs Python 3.11 or newer; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV) || { echo "cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements.txt | $(BIN)/python
	@echo "installing Python packages"
	@$(PIP) install --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt | $(BIN)/python
	@echo "installing Python packages for development"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.runtime

node_modules/.done: package.json package-lock.json requirements-node.txt | $(BIN)/python
	@command -v npm >/dev/null || [ -x $(BIN)/npm ] || { \
	  echo "npm is missing; installing Node.js into the virtual environment"; \
	  $(PIP) install --require-hashes -r requirements-node.txt; }
	@echo "installing browser assets"
	@PATH="$$PATH:$(CURDIR)/$(BIN)" npm ci --ignore-scripts --silent --no-audit --no-fund
	@touch $@

# The secret key signs nothing here: it keeps this step from making a data directory. Files of before stay: until it is
# restarted, a broker that runs gives them out, and pages that are open go on asking for them.
staticfiles/.done: $(VENV)/.runtime node_modules/.done tools/vendor.py $(STATIC_SOURCES) brokerd/storage.py
	@$(BIN)/python tools/vendor.py
	@BROKERD_SECRET_KEY=collecting-static-files-needs-no-real-key \
	  $(BIN)/python manage.py collectstatic --noinput --verbosity 0
	@chmod -R a+rX staticfiles # whoever installs them need not be who serves them; all else that commands make is private
	@touch $@
