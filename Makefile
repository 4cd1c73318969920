# Every verb that a user needs; `make` alone prints them. Works with GNU make 3.81 (macOS).
.DEFAULT_GOAL := help
PYTHON_IN_VENV := .venv/bin/python

.PHONY: help
help:  ## this list
	@awk -F ':.*## *' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: venv-run  ## the bot on a local Lambda, with all it needs [PORT=9000 BOT_FILE=examples/x.py MEMORY=512]
	@exec $(PYTHON_IN_VENV) -m commands.run $(if $(PORT),--port '$(PORT)') $(if $(BOT_FILE),--bot-file '$(BOT_FILE)') \
		$(if $(MEMORY),--memory '$(MEMORY)')

.PHONY: chat
chat: venv-run  ## talk to it as Poe would, or to a bot on Poe [URL=http://… BOT=GPT-3.5-Turbo RAW=1 ATTACH=file]
	@exec $(PYTHON_IN_VENV) -m commands.chat $(if $(URL),--url '$(URL)') $(if $(BOT),--bot '$(BOT)') \
		$(if $(RAW),--raw) $(if $(ATTACH),--attach '$(ATTACH)')

.PHONY: test
test: venv-node  ## all tests [ARGS="-k stream"]
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
	@$(COMPILE) requirements-node.in -o requirements-node.txt
	@$(COMPILE) -c requirements.txt bench/peers/requirements.in -o bench/peers/requirements.txt
	@$(COMPILE) local/aws/requirements.in -o local/aws/requirements.txt

COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: package
package: venv-uv  ## what goes to Lambda, in build/ [PYTHON=3.13 ARCH=arm64 BOT_FILE=examples/x.py]
	@exec $(PYTHON_IN_VENV) -m commands.package $(if $(PYTHON),--python '$(PYTHON)') \
		$(if $(ARCH),--arch '$(ARCH)') $(if $(BOT_FILE),--bot-file '$(BOT_FILE)')

.PHONY: set-key
set-key: venv-run  ## put the key of Poe's form into the stack's secret, from a prompt or stdin [STACK=PoeBot]
	@exec $(PYTHON_IN_VENV) -m commands.set_secret set-key $(if $(STACK),--stack '$(STACK)') $(if $(ANEW),--anew)

# NAME from the command line alone: some systems have a variable of that name.
.PHONY: set-secret
set-secret: venv-run  ## the same for what else the bot needs: NAME=OPENAI_API_KEY [REMOVE=yes STACK=PoeBot]
	@exec $(PYTHON_IN_VENV) -m commands.set_secret set-secret $(if $(STACK),--stack '$(STACK)') \
		$(if $(findstring command,$(origin NAME)),--name '$(NAME)') $(if $(REMOVE),--remove)

.PHONY: register
register: venv-run  ## push the deployed bot's settings to Poe, and check it: BOT=<its name on Poe> [URL_PATH=/echo BOT_FILE=bots.py STACK=PoeBot]
	@exec $(PYTHON_IN_VENV) -m commands.register $(if $(STACK),--stack '$(STACK)') $(if $(BOT),--bot '$(BOT)') \
		$(if $(URL_PATH),--path '$(URL_PATH)') $(if $(BOT_FILE),--bot-file '$(BOT_FILE)')

.PHONY: check
check: venv-run  ## is a server bot fit for Poe? `make run`'s, or any [URL=https://… TEXT='a question' STACK=PoeBot]
	@exec $(PYTHON_IN_VENV) -m commands.check $(if $(STACK),--stack '$(STACK)') $(if $(URL),--url '$(URL)') \
		$(if $(TEXT),--text '$(subst ','\'',$(TEXT))')

.PHONY: logs
logs: venv-run  ## follow the deployed bot's log [SINCE=10m STACK=PoeBot]
	@exec $(PYTHON_IN_VENV) -m commands.logs $(if $(STACK),--stack '$(STACK)') $(if $(SINCE),--since '$(SINCE)')

# The CDK's context, on top of cdk.json's.
CONTEXT = $(if $(STACK),-c 'stack=$(STACK)') $(if $(BOT_FILE),-c 'bot_file=$(BOT_FILE)') $(ARGS)

.PHONY: deploy
deploy: venv-node  ## to AWS, by the CDK [STACK=Name BOT_FILE=examples/x.py BOOTSTRAP=yes ARGS="-c memory=1769"]
	@exec $(PYTHON_IN_VENV) -m commands.deploy $(if $(filter yes,$(BOOTSTRAP)),--bootstrap) $(CONTEXT)

.PHONY: deploy-local
deploy-local: venv-node  ## the same into a local AWS, and a URL to talk to [PORT=9000 AWS_PORT=4566]
	@exec $(PYTHON_IN_VENV) -m commands.deploy_local $(if $(PORT),--port '$(PORT)') \
		$(if $(AWS_PORT),--aws-port '$(AWS_PORT)') $(CONTEXT)

.PHONY: destroy
destroy: venv-node  ## take the stack away; asks first [STACK=Name YES=yes]
	@exec $(PYTHON_IN_VENV) -m commands.destroy $(if $(filter yes,$(YES)),--yes) $(CONTEXT)

.PHONY: bench
bench: venv  ## how fast it is beside other ways to host a bot; takes minutes [ROUNDS=9]
	@exec $(PYTHON_IN_VENV) -m bench $(if $(ROUNDS),--rounds '$(ROUNDS)')

.PHONY: clean
clean:  ## remove all that was built or installed here, and the key of `make run`
	rm -rf .venv build node_modules cdk.out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# .venv with as much in it as the target needs; each is quick where nothing is to do.
.PHONY: venv venv-run venv-uv venv-node
venv:
	@sh infra/venv.sh requirements.txt
venv-run:
	@sh infra/venv.sh local/requirements.txt
venv-uv:
	@sh infra/venv.sh
venv-node: venv
	@$(PYTHON_IN_VENV) -m infra.toolchain.node
