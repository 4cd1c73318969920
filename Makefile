# Every verb that a user needs; `make` alone prints them. Works with GNU make 3.81 (macOS).
.DEFAULT_GOAL := help
PYTHON_IN_VENV := .venv/bin/python

.PHONY: help
help:  ## this list
	@awk -F ':.*## *' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: venv-run  ## the bot on a local Lambda, with all it needs [PORT=9000 BOT_FILE=examples/x.py MEMORY=512]
	@exec $(PYTHON_IN_VENV) -m local.run $(if $(PORT),--port '$(PORT)') $(if $(BOT_FILE),--bot-file '$(BOT_FILE)') \
		$(if $(MEMORY),--memory '$(MEMORY)')

.PHONY: chat
chat: venv-run  ## talk to it as Poe would, or to a bot on Poe [URL=http://… BOT=GPT-3.5-Turbo RAW=1 ATTACH=file]
	@exec $(PYTHON_IN_VENV) -m local.chat $(if $(URL),--url '$(URL)') $(if $(BOT),--bot '$(BOT)') \
		$(if $(RAW),--raw) $(if $(ATTACH),--attach '$(ATTACH)')

.PHONY: test
test: venv  ## all tests [ARGS="-k stream"]
	@exec $(PYTHON_IN_VENV) -m pytest $(ARGS)

.PHONY: lint
lint: venv  ## ruff and mypy
	@$(PYTHON_IN_VENV) -m ruff check
	@$(PYTHON_IN_VENV) -m ruff format --check
	@$(PYTHON_IN_VENV) -m mypy

.PHONY: lock
lock: venv-uv  ## pin every version and hash from requirements.in files [UPGRADE=1 for newer versions]
	@$(COMPILE) requirements-uv.in -o requirements-uv.txt
	@$(COMPILE) --excludes handler/excludes.txt handler/requirements.in -o handler/requirements.txt
	@$(COMPILE) local/requirements.in -o local/requirements.txt
	@$(COMPILE) requirements.in -o requirements.txt

COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: package
package: venv-uv  ## what goes to Lambda, in build/ [PYTHON=3.13 ARCH=arm64 BOT_FILE=examples/x.py]
	@exec $(PYTHON_IN_VENV) -m infra.package $(if $(PYTHON),--python '$(PYTHON)') \
		$(if $(ARCH),--arch '$(ARCH)') $(if $(BOT_FILE),--bot-file '$(BOT_FILE)')

.PHONY: clean
clean:  ## remove all that was built or installed here, and the key of `make run`
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# .venv with as much in it as the target needs; each is quick where nothing is to do.
.PHONY: venv venv-run venv-uv
venv:
	@sh infra/venv.sh requirements.txt
venv-run:
	@sh infra/venv.sh local/requirements.txt
venv-uv:
	@sh infra/venv.sh
