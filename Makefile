# Every command that a user needs; `make` alone lists them. Works with GNU make 3.81 (macOS).
.DEFAULT_GOAL := help
PYTHON_IN_VENV := .venv/bin/python
# Some images set it to 1, and every start would compile every library.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help:  ## list these commands
	@awk -F ':.*## *' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "Each works on the bot in bot/, or on another with BOT_DIR=../my-bot."

# --option='value' for a variable that has a value, whatever that is: spaces, apostrophes, dollars.
option = $(if $(value $(2)),--$(1)='$(subst ','\'',$(value $(2)))')

# Not from the environment, where another program may have variables of these names.
CALLER =
NAME =

# Which bot a command is about. CALLER is where files named in arguments are looked for first: a bot's
# own Makefile gives the folder in which its make runs.
FOLDER = $(call option,bot-dir,BOT_DIR) $(call option,caller,CALLER)
ITS_BOT = $(FOLDER) $(call option,bot-file,BOT_FILE)
ITS_STACK = $(FOLDER) $(call option,stack,STACK)

.PHONY: new
new: venv-uv  ## create a folder for a bot of your own: DIR=../my-bot
	@exec $(PYTHON_IN_VENV) -m commands.new $(call option,dir,DIR) $(call option,caller,CALLER)

.PHONY: run
run: venv-run  ## run the bot on a local Lambda [BOT_FILE=examples/x.py PORT=9000 MEMORY=512 SNAPSTART=1 CONCURRENCY=8]
	@exec $(PYTHON_IN_VENV) -m commands.run $(ITS_BOT) $(call option,port,PORT) $(call option,memory,MEMORY) \
		$(call option,concurrency,CONCURRENCY) $(if $(filter-out no 0 false,$(SNAPSTART)),--snapstart)

.PHONY: chat
chat: venv-run  ## talk to the bot as Poe would, or to a bot on Poe [URL=http://… BOT=GPT-3.5-Turbo RAW=1 ATTACH=file]
	@exec $(PYTHON_IN_VENV) -m commands.chat $(FOLDER) $(call option,url,URL) $(call option,bot,BOT) \
		$(if $(RAW),--raw) $(call option,attach,ATTACH)

# The tests of one file share what they start, so they run in one process. (ARGS="-n0 --pdb" debugs)
PYTEST = $(PYTHON_IN_VENV) -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: test
test: venv venv-node  ## run the tests, except those that take minutes [ARGS="tests/handler -k stream"]
	@exec $(PYTEST) -m 'not slow' $(ARGS)

.PHONY: test-all
test-all: venv venv-node  ## run all tests, and report what they don't cover [ARGS="-k soak"]
	@exec $(PYTEST) --cov --cov-report=term-missing $(ARGS)

.PHONY: lint
lint: venv  ## run ruff, mypy and the import contracts
	@$(PYTHON_IN_VENV) -m ruff check
	@$(PYTHON_IN_VENV) -m ruff format --check
	@$(PYTHON_IN_VENV) -m mypy
	@.venv/bin/lint-imports --no-logo --no-cache

.PHONY: lock
lock: venv-uv  ## pin what the bot requires, as `make run` does by itself [UPGRADE=1 or UPGRADE=openai]
	@exec $(PYTHON_IN_VENV) -m commands.lock $(FOLDER) $(call option,upgrade,UPGRADE)

.PHONY: lock-host
lock-host: venv-uv  ## pin the host's own libraries and tools [UPGRADE=1]
	@$(COMPILE) requirements-uv.in -o requirements-uv.txt
	@$(COMPILE) --config-file handler/uv.toml handler/requirements.in -o handler/requirements.txt
	@$(COMPILE) local/requirements.in -o local/requirements.txt
	@$(COMPILE) infra/requirements.in -o infra/requirements.txt
	@$(COMPILE) requirements.in -o requirements.txt
	@$(COMPILE) requirements-node.in -o requirements-node.txt
	@$(COMPILE) -c requirements.txt bench/peers/requirements.in -o bench/peers/requirements.txt
	@$(COMPILE) local/aws/requirements.in -o local/aws/requirements.txt

COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock-host' $(if $(UPGRADE),--upgrade)

.PHONY: package
package: venv-run  ## build what goes to Lambda, in build/ [BOT_FILE=examples/x.py PYTHON=3.13 ARCH=arm64]
	@exec $(PYTHON_IN_VENV) -m commands.package $(ITS_BOT) $(call option,python,PYTHON) $(call option,arch,ARCH)

.PHONY: set-key
set-key: venv-run  ## store the access key from Poe's form in the stack's secret [STACK=Name]
	@exec $(PYTHON_IN_VENV) -m commands.set_secret set-key $(ITS_STACK) $(if $(filter-out no 0 false,$(RESET)),--reset)

.PHONY: set-secret
set-secret: venv-run  ## store another member of the secret: NAME=OPENAI_API_KEY [REMOVE=yes STACK=Name]
	@exec $(PYTHON_IN_VENV) -m commands.set_secret set-secret $(ITS_STACK) \
		$(call option,name,NAME) $(if $(filter-out no 0 false,$(REMOVE)),--remove)

.PHONY: register
register: venv-run  ## push the deployed bot's settings to Poe: BOT=<its name on Poe> [URL_PATH=/echo STACK=Name]
	@exec $(PYTHON_IN_VENV) -m commands.register $(ITS_STACK) \
		$(call option,bot,BOT) $(call option,path,URL_PATH)

.PHONY: check
check: venv-run  ## check a server bot, by default the one of `make run` [URL=https://… TEXT='a question' STACK=Name]
	@exec $(PYTHON_IN_VENV) -m commands.check $(ITS_STACK) $(call option,url,URL) $(call option,text,TEXT)

.PHONY: logs
logs: venv-run  ## follow the deployed bot's log [SINCE=10m ONLY=errors STACK=Name]
	@exec $(PYTHON_IN_VENV) -m commands.logs $(ITS_STACK) $(call option,since,SINCE) $(call option,only,ONLY)

# ARGS: the CDK's context, on top of cdk.json's.
DEPLOYED = $(ITS_BOT) $(call option,stack,STACK) $(ARGS)

.PHONY: deploy
deploy: venv-node  ## deploy the bot to AWS with the CDK [STACK=Name BOT_FILE=examples/x.py BOOTSTRAP=yes YES=yes ARGS="-c memory=1769"]
	@exec $(PYTHON_IN_VENV) -m commands.deploy $(if $(filter yes,$(BOOTSTRAP)),--bootstrap) \
		$(if $(filter yes,$(YES)),--yes) $(if $(filter no,$(TRIAL)),--no-trial) $(DEPLOYED)

.PHONY: deploy-local
deploy-local: venv-node  ## deploy the bot to a local AWS and serve it [PORT=9000 AWS_PORT=4566]
	@exec $(PYTHON_IN_VENV) -m commands.deploy_local $(call option,port,PORT) \
		$(call option,aws-port,AWS_PORT) $(DEPLOYED)

.PHONY: destroy
destroy: venv-node  ## remove the deployed stack, after asking [STACK=Name YES=yes]
	@exec $(PYTHON_IN_VENV) -m commands.destroy $(if $(filter yes,$(YES)),--yes) $(DEPLOYED)

.PHONY: bench
bench: venv  ## measure it against other ways to host a bot; takes minutes [ROUNDS=9 PART=many]
	@exec $(PYTHON_IN_VENV) -m bench $(call option,rounds,ROUNDS) $(if $(PART),--write $(PART))

.PHONY: clean
clean:  ## remove all that was built or installed here, and the key of `make run`
	rm -rf .venv build node_modules cdk.out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# .venv, with as much in it as a target needs: uv alone, what runs a bot, what deploys it, or all.
.PHONY: venv-uv venv-run venv-deploy venv venv-node FORCE
venv-uv: .venv/made; @:
venv-run: .venv/lists/local/requirements.txt; @:
venv-deploy: .venv/lists/infra/requirements.txt; @:
venv: .venv/lists/requirements.txt; @:
venv-node: venv-deploy
	@$(PYTHON_IN_VENV) -m infra.toolchain.node

# VENV_PYTHON=3.12 chooses exactly that version, such as for the tests.
VERSION = $(or $(VENV_PYTHON),$(shell cat .python-version))

# .venv/made holds what .venv was built for, .venv/lists/X a copy of list X as it was installed.
# Contents are compared, not times: an update of the checkout may come with old times.
MADE_FOR = { echo "$$(pwd -P) $(VERSION)"; cat requirements-uv.txt; }
IS_SOUND = { $(MADE_FOR) | cmp -s - .venv/made && [ ! -e .venv/unfinished ] && \
	.venv/bin/python -SEsc ''; } 2>/dev/null
LIST = $(@:.venv/lists/%=%)
# Asked when .venv is needed, and once.
UNLESS_SOUND = $(eval UNLESS_SOUND := $$(shell $$(IS_SOUND) || echo FORCE))$(UNLESS_SOUND)
UNLESS_INSTALLED = $(or $(UNLESS_SOUND),$(shell cmp -s $(LIST) $@ || echo FORCE))

# One setup at a time. The lock belongs to descriptor 9, so it ends with the shell, however that ends.
LOCK = { mkdir -p build && true >>build/venv.lock; } 2>/dev/null || { echo "error: $$PWD/build can't be\
	written: make it writable, or use a checkout of your own" >&2; exit 1; }; exec 9>build/venv.lock && \
	"$$python" -SEsc 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
quietly = { $(1); } >>build/venv.log 2>&1 || { sh infra/toolchain/setup-failed.sh; exit 1; }

.SECONDEXPANSION:
.venv/made: $$(UNLESS_SOUND)
	@python=$$(sh infra/toolchain/find-python.sh $(VERSION) $(if $(VENV_PYTHON),exact)) || { \
		$(if $(VENV_PYTHON),echo "error: VENV_PYTHON=$(VENV_PYTHON): this machine has no such Python; use one like 3.13" >&2;) exit 1; }; \
	$(LOCK); if $(IS_SOUND); then exit; fi; : >build/venv.log; \
	echo "Setting up .venv with $$("$$python" --version) (once, about 20 s)" >&2; \
	$(call quietly,rm -rf .venv && "$$python" -m venv .venv && .venv/bin/python -m pip install \
		--disable-pip-version-check --require-hashes --only-binary :all: -r requirements-uv.txt); \
	$(MADE_FOR) >.venv/made

# Until the installation is complete, .venv is marked as unfinished: an interrupted one is built again.
# One that failed before it changed anything, such as without a network, leaves .venv as it was.
LISTS = local/requirements.txt infra/requirements.txt requirements.txt
$(LISTS:%=.venv/lists/%): .venv/made $$(UNLESS_INSTALLED)
	@python=$(PYTHON_IN_VENV); $(LOCK); : >build/venv.log; touch .venv/unfinished; \
	echo "Installing $(LIST)" >&2; \
	$(call quietly,.venv/bin/uv pip install --python $$python --require-hashes --only-binary :all: -r $(LIST) || \
		{ [ -n "$$(find .venv/lib -newer .venv/unfinished)" ] || rm .venv/unfinished; false; }); \
	mkdir -p $(@D); cp $(LIST) $@; rm .venv/unfinished
