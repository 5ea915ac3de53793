# Batch Processor. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Which environment a command acts on: local, stage or prod.
ENV ?= local
# Python 3.11 or newer, to create the virtual environments.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$candidate" && break; done)
# For recipes. Without an interpreter they would begin with `-m`, and make ignores errors of a command that begins with `-`.
NEEDED_PYTHON = $(or $(PYTHON),$(error Python 3.11 or newer is needed; name one: make … PYTHON=<path>))
# Arguments come from the command line only, because a shell can define NAME itself, as WSL does.
GIVEN := INPUT CSV TARGET COLUMNS NAME OUTPUT TRIAL CONCURRENCY FOLLOW \
	EXECUTION STATE STATUS LIMIT FROM ROW GRACE RATE TOKENS CURE PROOF ACCEPT_VERSION DRY_RUN YES FORCE \
	JOB AGENT ANSWER ANSWERS FILE CONFIRM TOOL_NAME ONLY UPGRADE ARGS RECORD TITLE DESCRIPTION TAGS VERIFIED
$(foreach variable,$(GIVEN),$(eval $(variable) :=))
# Size of the end-to-end tests: small or full.
SCALE ?= small
# Concurrent test processes: one more than two cores, because the end-to-end tests mostly wait.
WORKERS ?= 3
# Recipes read these from the environment, as "$$CSV", so that quotes and dollar signs in a value reach the command.
$(foreach variable,ENV SCALE WORKERS $(GIVEN),$(eval override $(variable) := $$(value $(variable))))
export ENV SCALE WORKERS $(GIVEN)
# $(call option,--csv,CSV): the option with the variable's value, or nothing if the variable is empty.
option = $(if $($(2)),$(1)="$$$(2)")

DEV := .venv/bin/python
# Environments that the commands need. Checks also need .venv-checkov and asl-validator.
RUNTIME := .venv/.made .venv-emulator/.made
EMULATOR := .venv-emulator/bin/python
CODE := layers/core/python/foundation layers/core/python/row_batches layers/core/python/bedrock_batches client/batch_processor_client functions tools emulator examples tests

# Local commands must not look for an instance's role. For an account it can be the only credentials (EC2, CodeBuild, Cloud9).
ifeq ($(ENV),local)
export AWS_EC2_METADATA_DISABLED ?= true
endif
# The function workers of the local AWS must find our package only in the layer, as on AWS.
unexport PYTHONPATH
# Commands and tests start thousands of processes. Without stored bytecode, each compiles all that it imports.
unexport PYTHONDONTWRITEBYTECODE

# $(call step,what,command): a header, the command, its time. A failing command ends make.
step = @printf '\n== %s\n' "$(1)"; begun=$$SECONDS; { $(2); } && printf -- '-- %s s\n' $$((SECONDS - begun))

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*##"} \
		/^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5); next} \
		/^[a-z][a-z-]*:.*##/ {printf "  \033[36m%-22s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nENV is local (default), stage or prod. Everything local stays on 127.0.0.1 and in build/.\n'

##@ First steps

.PHONY: demo
demo: $(RUNTIME) ## Start a local AWS, deploy to it, run three row batches and a Bedrock batch, show their output, stop
	@$(DEV) -m tools.demo $(ARGS)

# A file's tests stay in one process. The order is that of tests/conftest.py, not pytest-xdist's: files of many tests first.
PYTEST := $(DEV) -m pytest -q -n "$$WORKERS" --dist loadfile --no-loadscope-reorder
# Two at once, the longest first. The output of a step stays together, if make can do that (4.0).
CHECKS := $(MAKE) -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=line) terraform-checks lint checkov

.PHONY: test
test: setup ## Run every check and test; end-to-end tests at reduced size
	@$(CHECKS)
	@printf '\n== tests (SCALE=%s, %s processes)\n' "$$SCALE" "$$WORKERS"
	@$(PYTEST) tests emulator/tests

##@ Row batches (ENV=local|stage|prod)

.PHONY: up
up: $(RUNTIME) ## Start the local AWS, deploy to it, print the variables that reach it
	@$(DEV) -m tools.up

.PHONY: down
down: $(RUNTIME) ## Stop the local AWS and keep its state on disk; `make up` starts it again
	@$(DEV) -m tools.up --down

# The client's own command, from its folder: functions must find our package only in their layer.
CLIENT := PYTHONPATH=client:layers/core/python $(DEV) -m batch_processor_client --env "$$ENV"

.PHONY: run
run: $(RUNTIME) ## Run rows and follow them: CSV=file|folder|'*.csv' TARGET=name [COLUMNS=column=field,…], or INPUT=file.json [CSV=…]; [OUTPUT=file] [NAME=…] [TRIAL=rows]; or FOLLOW=execution
	@$(CLIENT) $(if $(FOLLOW),follow $(call option,--output,OUTPUT) -- "$$FOLLOW",run $(call option,--input,INPUT) \
		$(call option,--csv,CSV) $(call option,--target,TARGET) $(call option,--columns,COLUMNS) \
		$(call option,--concurrency,CONCURRENCY) $(call option,--name,NAME) $(call option,--trial,TRIAL) \
		$(call option,--output,OUTPUT))

.PHONY: approve
approve: $(RUNTIME) ## Let a run that waits after its trial run its other rows: EXECUTION=name
	@$(CLIENT) approve -- "$$EXECUTION"

.PHONY: trial
trial: $(RUNTIME) ## Show the report of a run's trial: EXECUTION=name
	@$(CLIENT) trial -- "$$EXECUTION"

.PHONY: runs
runs: $(RUNTIME) ## List runs, newest first: [STATE=FAILED] [TARGET=name] [LIMIT=n]
	@$(CLIENT) runs $(call option,--state,STATE) $(call option,--target,TARGET) $(call option,--limit,LIMIT)

.PHONY: status
status: $(RUNTIME) ## Show a run's state, counts and cost: EXECUTION=name
	@$(CLIENT) status -- "$$EXECUTION"

.PHONY: results
results: $(RUNTIME) ## Show the counts, cost and first rows of an ended run, and save the output: EXECUTION=name [OUTPUT=file]
	@$(CLIENT) results $(call option,--output,OUTPUT) -- "$$EXECUTION"

.PHONY: stop
stop: $(RUNTIME) ## Stop a run and keep its finished rows: EXECUTION=name [GRACE=seconds]
	@$(CLIENT) stop $(call option,--grace,GRACE) -- "$$EXECUTION"

.PHONY: throttle
throttle: $(RUNTIME) ## Change the pace of a running batch: EXECUTION=name [CONCURRENCY=rows] [RATE=rows a minute] [TOKENS=tokens a minute]
	@$(CLIENT) throttle $(call option,--concurrency,CONCURRENCY) $(call option,--rate,RATE) \
		$(call option,--tokens,TOKENS) -- "$$EXECUTION"

.PHONY: retry
retry: $(RUNTIME) ## Run the rows of an ended run that failed or never ran: EXECUTION=name [NAME=…] [DRY_RUN=1] [ACCEPT_VERSION=1]
	@$(CLIENT) retry $(call option,--name,NAME) $(if $(DRY_RUN),--dry-run) \
		$(if $(ACCEPT_VERSION),--accept-version) -- "$$EXECUTION"

.PHONY: heal
heal: $(RUNTIME) ## List why rows failed and how to fix it; run the chosen causes again: EXECUTION=name [CURE=1,2|all] [NAME=…] [DRY_RUN=1]
	@$(CLIENT) heal $(call option,--cure,CURE) $(call option,--name,NAME) $(if $(DRY_RUN),--dry-run) \
		$(if $(ACCEPT_VERSION),--accept-version) -- "$$EXECUTION"

.PHONY: purge
purge: $(RUNTIME) ## Delete everything that a run left, after asking: EXECUTION=name [DRY_RUN=1] [YES=1]
	@$(CLIENT) purge $(if $(DRY_RUN),--dry-run) $(if $(filter 1,$(YES)),--yes) -- "$$EXECUTION"

.PHONY: rows
rows: $(RUNTIME) ## List finished rows, also of a running batch: EXECUTION=name [STATUS=FAILED] [LIMIT=n] [FROM=row]
	@$(CLIENT) rows $(call option,--status,STATUS) $(call option,--limit,LIMIT) $(call option,--from,FROM) \
		-- "$$EXECUTION"

.PHONY: verify
verify: $(RUNTIME) ## Check that each input row is in the output once, in order, unchanged: EXECUTION=name or PROOF=proof.json OUTPUT=output.csv [INPUT=rows.csv]
	@$(CLIENT) verify $(call option,--proof,PROOF) $(call option,--output,OUTPUT) $(call option,--input,INPUT) \
		$(if $(EXECUTION),-- "$$EXECUTION")

.PHONY: remap
remap: $(RUNTIME) ## Write a finished run's output again with other columns: EXECUTION=name INPUT=file.json [OUTPUT=file.csv]
	@$(CLIENT) remap $(call option,--input,INPUT) $(call option,--output,OUTPUT) -- "$$EXECUTION"

.PHONY: target
target: $(RUNTIME) ## Make a target of your own; ENV=local: deploy it too: NAME=… FILE=handler.py|agent.json or FROM=tool|agent|express
	@$(CLIENT) new-target $(call option,--file,FILE) $(call option,--from,FROM) -- "$$NAME"
	@if [ "$$ENV" = local ]; then $(DEV) -m tools.up --quiet; \
	else printf 'Deploy it: make apply ENV=%s\n' "$$ENV"; fi

.PHONY: try
try: $(RUNTIME) ## Call a target with single rows and show answers, columns, time and cost: NAME=… ROW='{"text": "…"}' or CSV=file [LIMIT=n] [INPUT=batch.json]
	@$(CLIENT) try $(call option,--row,ROW) $(call option,--csv,CSV) $(call option,--limit,LIMIT) \
		$(call option,--input,INPUT) -- "$$NAME"

.PHONY: targets
targets: $(RUNTIME) ## List the registered targets
	@$(CLIENT) targets

.PHONY: console
console: $(RUNTIME) ## Serve a web page with runs, Bedrock jobs and targets on 127.0.0.1 until Ctrl-C
	@$(CLIENT) console

.PHONY: config-check
config-check: $(RUNTIME) ## Check the deployment's configuration: [FILE=batch-processor-config.yaml]
	@$(CLIENT) config-check $(if $(FILE),-- "$$FILE")

.PHONY: schema-check
schema-check: $(RUNTIME) ## Check the schemas of agents' outputs in schemas/
	@$(CLIENT) schema check

.PHONY: schema-lock
schema-lock: $(RUNTIME) ## Lock new versions of schemas in schemas/schemas.lock.json
	@$(CLIENT) schema lock

.PHONY: schema-try
schema-try: $(RUNTIME) ## Show what a schema extracts from a saved answer: AGENT=name ANSWER=file.json
	@$(CLIENT) schema try -- "$$AGENT" "$$ANSWER"

.PHONY: schema-guess
schema-guess: $(RUNTIME) ## Propose a schema from saved answers: ANSWERS=folder [AGENT=name]
	@$(CLIENT) schema guess $(call option,--agent,AGENT) -- "$$ANSWERS"

.PHONY: output
output: $(RUNTIME) ## Print the Terraform outputs as JSON
	@$(DEV) -m tools.output --env "$$ENV"

##@ Bedrock batches (ENV=local|stage|prod)

.PHONY: seed-lake
seed-lake: $(RUNTIME) ## Create the lake's tables and load violations: FILE=violations.csv
	@$(CLIENT) seed-lake $(call option,--file,FILE)

.PHONY: jobs
jobs: $(RUNTIME) ## List the jobs, newest first: [STATUS=Completed] [LIMIT=n]
	@$(CLIENT) jobs $(call option,--status,STATUS) $(call option,--limit,LIMIT)

.PHONY: job
job: $(RUNTIME) ## Show one job: JOB=id
	@$(CLIENT) job -- "$$JOB"

.PHONY: estimate
estimate: $(RUNTIME) ## Estimate the records and cost of a job; create nothing: [INPUT=request.json]
	@$(CLIENT) estimate $(call option,--input,INPUT)

.PHONY: create-job
create-job: $(RUNTIME) ## Create a job: [INPUT=request.json] [FORCE=1]
	@$(CLIENT) create-job $(call option,--input,INPUT) $(if $(filter 1,$(FORCE)),--force)

.PHONY: stop-job
stop-job: $(RUNTIME) ## Stop a job and keep its answers: JOB=id
	@$(CLIENT) stop-job -- "$$JOB"

.PHONY: retry-job
retry-job: $(RUNTIME) ## Create a job for the records of a job that got no content: JOB=id [INPUT=changes.json] [FORCE=1]
	@$(CLIENT) retry-job $(call option,--input,INPUT) $(if $(filter 1,$(FORCE)),--force) -- "$$JOB"

.PHONY: content
content: $(RUNTIME) ## Print the generated content of a job, a JSON object a line: JOB=id [LIMIT=n]
	@$(CLIENT) content $(call option,--limit,LIMIT) -- "$$JOB"

.PHONY: export-job
export-job: $(RUNTIME) ## Write the generated content of a job into an Excel workbook: JOB=id OUTPUT=content.xlsx
	@$(CLIENT) export-job -- "$$JOB" "$$OUTPUT"

.PHONY: edit-content
edit-content: $(RUNTIME) ## Change or verify the generated content of a record: RECORD=id [TITLE=…] [DESCRIPTION=…] [TAGS=a,b] [VERIFIED=yes|no]
	@IFS=, read -ra tags <<<"$$TAGS"; \
		$(CLIENT) edit-content $(call option,--title,TITLE) $(call option,--description,DESCRIPTION) \
		$(if $(TAGS),"$${tags[@]/#/--tag=}") \
		$(if $(VERIFIED),$(or $(verified_$(VERIFIED)),$(error VERIFIED is yes or no))) -- "$$RECORD"
verified_yes := --verify
verified_no := --withdraw

.PHONY: reparse
reparse: $(RUNTIME) ## Read a job's stored answers again at no cost: JOB=id [YES=1]
	@$(CLIENT) reparse $(if $(filter 1,$(YES)),--yes) -- "$$JOB"

.PHONY: resync
resync: $(RUNTIME) ## Merge content into the lake that could not be merged before: [FILE=key]
	@$(CLIENT) resync $(call option,--file,FILE)

##@ Deploying (ENV=local|stage|prod)

.PHONY: package
package: $(RUNTIME) ## Build the function and layer archives of ENV into build/artifacts
	@$(DEV) -m tools.package --env "$$ENV"

.PHONY: plan
plan: $(RUNTIME) ## Show and save what apply would change
	@$(DEV) -m tools.terraform plan --env "$$ENV" --package

.PHONY: apply
apply: $(RUNTIME) ## Apply the saved plan; without one, plan and apply (not in prod)
	@$(DEV) -m tools.terraform apply --env "$$ENV" --package

.PHONY: destroy
destroy: $(RUNTIME) ## Remove an environment; prod asks for CONFIRM=<account id>
	@$(DEV) -m tools.terraform destroy --env "$$ENV" --package

.PHONY: state-bucket
state-bucket: $(RUNTIME) ## Create or repair the bucket of Terraform's state in the account of ENV
	@$(DEV) -m tools.terraform state-bucket --env "$$ENV"

.PHONY: deploy-shared
deploy-shared: apply ## Older name of apply

.PHONY: deploy-tool
deploy-tool: ## Older name of apply: TOOL_NAME=batch_processor
	@if [ "$$TOOL_NAME" != batch_processor ]; then \
		echo "deploy-tool: TOOL_NAME is '$$TOOL_NAME'; this repository deploys TOOL_NAME=batch_processor." >&2; exit 2; fi
	@$(MAKE) apply ENV="$$ENV"

##@ Developing

.PHONY: test-full
test-full: ## Run every check and test at full size
	@$(MAKE) test SCALE=full

.PHONY: test-batch-processor
test-batch-processor: $(RUNTIME) ## Run the integration and end-to-end tests of row batches on a local AWS
	@$(DEV) -m tools.package --env local
	@$(PYTEST) tests/integration tests/e2e \
		--ignore tests/integration/bedrock_batches --ignore tests/e2e/test_bedrock_batches.py

.PHONY: bench
bench: $(RUNTIME) ## Measure speed, memory and cost, and write build/bench.json: [ONLY=name]
	@$(DEV) -m tools.bench $(call option,--only,ONLY)

.PHONY: format
format: setup ## Format the code
	@$(DEV) -m ruff check --fix --exit-zero --quiet .
	@$(DEV) -m ruff format .
	@$(DEV) -m tools.terraform fmt

.PHONY: lint
lint: setup ## Check style, types and layers; change nothing
	$(call step,ruff,$(DEV) -m ruff check . && $(DEV) -m ruff format --check .)
	$(call step,mypy,$(DEV) -m mypy $(CODE))
	$(call step,import-linter,PYTHONPATH=layers/core/python:client .venv/bin/lint-imports && PYTHONPATH=layers/core/python:client .venv/bin/lint-imports --config client/pyproject.toml)

.PHONY: reference
reference: $(RUNTIME) ## Write the tables of the reference pages that come from the code
	@$(DEV) -m tools.reference

.PHONY: terraform-checks
terraform-checks: setup
	$(call step,artefacts,$(DEV) -m tools.package --env local)
	$(call step,terraform fmt,$(DEV) -m tools.terraform fmt -check -diff)
	$(call step,terraform validate,$(DEV) -m tools.terraform validate)
	$(call step,terraform test,$(DEV) -m tools.terraform test)

.PHONY: checkov
checkov: setup
	$(call step,checkov,$(DEV) -m tools.checkov)

.PHONY: lock
lock: $(RUNTIME) ## Pin the requirements with hashes: [UPGRADE=1] for the newest versions allowed
	@$(DEV) -m tools.environments --lock $(if $(UPGRADE),--upgrade) requirements/*.in emulator/requirements.in

.PHONY: clean
clean: ## Stop the local AWS; remove build/ (local state, saved plans, downloads) and caches; keep .venv*
	@if [ -x $(EMULATOR) ]; then $(EMULATOR) -m emulator stop; fi
	@rm -rf build dist terraform/terraform.tfstate.d .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# --- environments: each is created once, and again when its lock file changes

.PHONY: setup
setup: $(RUNTIME) .venv-checkov/.made asl-validator ## Create the virtual environments from the lock files

.venv/.made: requirements/dev.txt
	@echo "Creating .venv (the first time, this downloads packages)"
	@$(NEEDED_PYTHON) -m tools.environments .venv $<
	@touch $@

.venv-emulator/.made: emulator/requirements.txt | .venv/.made
	@echo "Creating .venv-emulator"
	@$(NEEDED_PYTHON) -m tools.environments .venv-emulator $<
	@touch $@

.venv-checkov/.made: requirements/checkov.txt | .venv/.made
	@echo "Creating .venv-checkov"
	@$(NEEDED_PYTHON) -m tools.environments .venv-checkov $<
	@touch $@

# asl-validator needs npm. Without npm, the test that uses it is skipped with a message.
.PHONY: asl-validator
ifneq (,$(shell command -v npm 2>/dev/null))
asl-validator: tools/asl-validator/node_modules/.made
tools/asl-validator/node_modules/.made: tools/asl-validator/package-lock.json
	@echo "Installing asl-validator"
	@cd tools/asl-validator && npm ci --silent --no-audit --no-fund --ignore-scripts && touch node_modules/.made \
		|| echo "npm could not install it: the test that uses asl-validator is skipped."
endif
