variable "environment" {
  type        = string
  description = "The environment, which is also the workspace. It is the suffix of all names, except in prod."

  validation {
    condition     = contains(["local", "stage", "prod"], var.environment)
    error_message = "environment is local, stage or prod."
  }

  validation {
    condition     = var.environment == terraform.workspace
    error_message = "Workspace ${terraform.workspace} does not belong to environment ${var.environment}: run `make plan ENV=${var.environment}`, which selects it."
  }
}

variable "region" {
  type        = string
  description = "The AWS region of all resources."
  default     = "us-east-1"
}

variable "allowed_account_ids" {
  type        = list(string)
  description = "The accounts that this environment can be deployed to. Terraform refuses any other."
  default     = null

  validation {
    condition     = var.environment == "local" || try(length(var.allowed_account_ids), 0) > 0
    error_message = "Say which account ${var.environment} is: set allowed_account_ids in terraform/envs/${var.environment}.tfvars, or TF_VAR_allowed_account_ids='[\"123456789012\"]'."
  }
}

variable "s3_use_path_style" {
  type        = bool
  description = "Address buckets by path, for endpoints that are an IP address."
  default     = false
}

variable "artifact_manifest" {
  type        = string
  description = "Path of the manifest that `make package` writes, relative to the terraform folder; contract.json is beside it."

  validation {
    condition     = fileexists(var.artifact_manifest) && fileexists("${dirname(var.artifact_manifest)}/contract.json")
    error_message = "There is no ${var.artifact_manifest}: run `make package ENV=${var.environment}` first."
  }
}

variable "input_bucket_name" {
  type        = string
  description = "Name of the input bucket to create; null: batch-processor-input-<account>-<region> and the suffix."
  default     = null
}

variable "results_bucket_name" {
  type        = string
  description = "Name of the results bucket to create; null: batch-processor-results-<account>-<region> and the suffix."
  default     = null
}

variable "input_buckets" {
  type        = list(string)
  description = "Additional buckets of this account and region that batches can read CSVs from."
  default     = []
}

variable "input_kms_key_arns" {
  type        = list(string)
  description = "Keys that encrypt objects in input_buckets."
  default     = []

  validation {
    condition     = alltrue([for arn in var.input_kms_key_arns : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", arn))])
    error_message = "input_kms_key_arns holds key ARNs (arn:aws:kms:<region>:<account>:key/<id>), not aliases."
  }
}

variable "output_buckets" {
  type        = list(string)
  description = "Your own buckets that batches can copy their results to (output_s3_uri)."
  default     = []

  validation {
    condition     = alltrue([for name in var.output_buckets : can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", name))])
    error_message = "output_buckets holds names of buckets, such as my-results: no s3://, no folders."
  }

  validation {
    condition     = length(setintersection(var.output_buckets, [local.results_bucket_name, local.data_bucket_name])) == 0
    error_message = "output_buckets holds your own buckets, not the deployment's: objects there have other uses."
  }
}

variable "output_kms_key_arns" {
  type        = list(string)
  description = "Keys that encrypt objects in output_buckets."
  default     = []

  validation {
    condition     = alltrue([for arn in var.output_kms_key_arns : can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/", arn))])
    error_message = "output_kms_key_arns holds key ARNs (arn:aws:kms:<region>:<account>:key/<id>), not aliases."
  }
}

variable "targets_folder" {
  type        = string
  description = "Folder of the team's own targets; null: targets/ of this repository. `make target` and `make package` use that one."
  default     = null
}

variable "targets" {
  type = map(object({
    type              = string
    arn               = string
    invocation        = optional(string)
    version           = optional(string, "1")
    enabled           = optional(bool, true)
    output_schema     = optional(string)
    cost_per_call_usd = optional(number)
    expected_seconds  = optional(number)
    max_concurrency   = optional(number)
    rate              = optional(object({ rows_per_minute = optional(number), tokens_per_minute = optional(number) }))
    input             = optional(map(object({ description = optional(string, ""), required = optional(bool, true) })), {})
    output            = optional(list(object({ name = string, source = optional(string), type = optional(string, "string") })), [])
    prices            = optional(object({ input_usd_per_million_tokens = number, output_usd_per_million_tokens = number }))
  }))
  description = <<-EOT
    The targets that batches can call, by registered name. type: tool (a Lambda function) or agent (a state machine). invocation: lambda
    for tools, standard (the default) or express for agents. max_concurrency (rows in flight) and rate apply over all runs in progress. input:
    the fields that the target takes. output: the columns of runs that a client starts without an output_mapping. Permissions to invoke are
    derived from this and from the folder targets/; nothing else can be invoked.
  EOT
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.targets) : can(regex("^[A-Za-z0-9_-]{1,64}$", name))])
    error_message = "A target's name has 1 to 64 letters, digits, - or _."
  }

  validation {
    condition = alltrue([for name in keys(var.targets) :
      length(fileset(coalesce(var.targets_folder, "${path.root}/../targets"), "${name}/{handler.py,agent.asl.json}")) == 0
    ])
    error_message = "A target has the same name in the variable targets and in the folder targets/: rename one of the two."
  }

  validation {
    condition     = alltrue([for target in values(var.targets) : contains(["tool", "agent"], target.type)])
    error_message = "A target's type is tool or agent."
  }

  validation {
    condition = alltrue([for target in values(var.targets) :
      target.invocation == null ? true : contains(target.type == "tool" ? ["lambda"] : ["standard", "express"], target.invocation)
    ])
    error_message = "A tool's invocation is lambda, an agent's standard or express."
  }

  validation {
    condition = alltrue([for target in values(var.targets) : can(regex(
      target.type == "tool" ? "^arn:[^:]+:lambda:[^:]+:[0-9]{12}:function:[^:*]+(:[^:*]+)?$" : "^arn:[^:]+:states:[^:]+:[0-9]{12}:stateMachine:[^:*]+(:[^:*]+)?$",
      target.arn
    ))])
    error_message = "A tool's arn is a Lambda function's, an agent's a state machine's, without wildcards."
  }

  validation {
    condition = alltrue(flatten([for target in values(var.targets) : [
      for column in target.output : can(regex("^[^\\p{Cc}]{1,255}$", column.name))
    ]]))
    error_message = "A column of a target's output has a name of 1 to 255 characters, none of them a control character."
  }

  validation {
    condition = alltrue(flatten([for target in values(var.targets) : [
      for column in target.output : !contains(local.contract.metadata_columns, column.name)
    ]]))
    error_message = "A column of a target's output cannot have the name of a metadata column, such as _status."
  }

  validation {
    condition = alltrue([for target in values(var.targets) :
      length(target.output) <= local.contract.max_output_columns && length(distinct([for column in target.output : column.name])) == length(target.output)
    ])
    error_message = "A target's output has up to ${local.contract.max_output_columns} columns, each with a name of its own."
  }

  validation {
    condition = alltrue(flatten([for target in values(var.targets) : [
      for column in target.output : contains(local.contract.output_types, column.type)
    ]]))
    error_message = "The type of a column of a target's output is one of ${join(", ", local.contract.output_types)}."
  }

  validation {
    condition = alltrue(flatten([for target in values(var.targets) : [
      for column in target.output : column.source == null ? true : startswith(column.source, "$")
    ]]))
    error_message = "The source of a column of a target's output is a JSONPath, such as $.label."
  }

  validation {
    condition     = alltrue([for target in values(var.targets) : target.cost_per_call_usd == null ? true : target.cost_per_call_usd >= 0])
    error_message = "A target's cost_per_call_usd is 0 or more."
  }

  validation {
    condition = alltrue([for target in values(var.targets) : target.prices == null ? true : alltrue([
      target.prices.input_usd_per_million_tokens >= 0, target.prices.output_usd_per_million_tokens >= 0
    ])])
    error_message = "A target's prices are 0 or more, in US dollars for a million tokens."
  }

  validation {
    condition     = alltrue([for target in values(var.targets) : target.expected_seconds == null ? true : target.expected_seconds > 0])
    error_message = "A target's expected_seconds is more than 0."
  }

  validation {
    condition = alltrue([for target in values(var.targets) : target.max_concurrency == null ? true :
      target.max_concurrency >= 1 && target.max_concurrency <= 10000 && floor(target.max_concurrency) == target.max_concurrency
    ])
    error_message = "A target's max_concurrency is a whole number from 1 to 10,000."
  }

  validation {
    condition = alltrue([for target in values(var.targets) : target.rate == null ? true : anytrue([
      target.rate.rows_per_minute != null, target.rate.tokens_per_minute != null
    ])])
    error_message = "A target's rate has rows_per_minute, tokens_per_minute or both."
  }

  validation {
    condition = alltrue([for target in values(var.targets) : target.rate == null ? true : alltrue([
      target.rate.rows_per_minute == null ? true : target.rate.rows_per_minute > 0 && target.rate.rows_per_minute <= 1000000,
      target.rate.tokens_per_minute == null ? true : target.rate.tokens_per_minute > 0 && target.rate.tokens_per_minute <= 1000000000,
    ])])
    error_message = "A target's rate is more than 0: up to 1,000,000 rows_per_minute and 1,000,000,000 tokens_per_minute."
  }

  validation {
    condition = alltrue([for arn in distinct(values(var.targets)[*].arn) :
      length(distinct([for target in values(var.targets) : jsonencode([target.max_concurrency, target.rate]) if target.arn == arn])) == 1
    ])
    error_message = "Targets with the same arn need the same max_concurrency and rate: the limits belong to the function or state machine."
  }
}

variable "config_file" {
  type        = string
  description = "Path of the deployment's configuration, relative to the terraform folder; null: batch-processor-config.yaml at the root of the repository, if it exists."
  default     = null

  validation {
    condition     = var.config_file == null ? true : fileexists(var.config_file)
    error_message = "There is no ${coalesce(var.config_file, "file")}: correct config_file, or leave it out."
  }
}

variable "short_lived" {
  type        = bool
  description = "The deployment is thrown away soon: nothing in its buckets expires, its key does not rotate, and nothing has tags. Terraform would wait a minute for these settings."
  default     = false

  validation {
    condition     = !(var.short_lived && var.environment == "prod")
    error_message = "prod is not short-lived: its objects must expire and its key must rotate."
  }
}

variable "sample_targets" {
  type        = bool
  description = "Deploy and register the targets of examples/targets and the callers of examples/callers."
  default     = false

  validation {
    condition     = !(var.sample_targets && var.environment == "prod")
    error_message = "Sample targets cannot be deployed to prod."
  }
}

variable "work_retention_days" {
  type        = number
  description = "Days that work/ objects are kept: staged inputs, plans and raw answers."
  default     = 7

  validation {
    condition     = var.work_retention_days >= 1 && var.work_retention_days <= 365 && floor(var.work_retention_days) == var.work_retention_days
    error_message = "work_retention_days is a whole number from 1 to 365."
  }
}

variable "dead_letter_retention_days" {
  type        = number
  description = "Days that a failed row is kept in the dead-letter queue. An input too large for the queue is in the results bucket, and is kept longer than its message."
  default     = 14

  validation {
    condition     = var.dead_letter_retention_days >= 1 && var.dead_letter_retention_days <= 14 && floor(var.dead_letter_retention_days) == var.dead_letter_retention_days
    error_message = "dead_letter_retention_days is a whole number from 1 to 14: SQS keeps no message longer (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html)."
  }
}

variable "log_retention_days" {
  type        = number
  description = "Days that log events are kept."
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "CloudWatch Logs keeps events for 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "log_level" {
  type        = string
  description = "Log level of the functions. A batch can set another one."
  default     = "INFO"

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR"], var.log_level)
    error_message = "log_level is DEBUG, INFO, WARNING or ERROR."
  }
}

variable "xray_tracing" {
  type        = bool
  description = "Trace functions and state machine with X-Ray. Off by default, because traces are billed per row for agents."
  default     = false
}

variable "daily_cost_alarm_usd" {
  type        = number
  description = "Estimated cost of a day's batches, in US dollars, above which an alarm goes off."
  default     = 50

  validation {
    condition     = var.daily_cost_alarm_usd > 0
    error_message = "daily_cost_alarm_usd is above 0."
  }
}

variable "bedrock_batches" {
  type        = bool
  description = "Deploy Bedrock batches: the lake, the jobs and the admin API."
  default     = true
}

variable "lake_name" {
  type        = string
  description = "Name of the table bucket to create; null: ventureos-lake-<account>-<region> and the suffix."
  default     = null
}

variable "data_bucket_name" {
  type        = string
  description = "Name of the bucket of bedrock-batches/ to create; null: ventureos-data-<account>-<region> and the suffix."
  default     = null
}

variable "agencies" {
  type        = list(string)
  description = "Agencies of the lake. Each has a table with its name; `make seed-lake` creates the table of a new one."
  default     = ["osha", "msha", "nhtsa", "faa", "uscg", "fra", "epa"]

  validation {
    condition     = length(var.agencies) > 0 && alltrue([for agency in var.agencies : can(regex("^[a-z][a-z0-9_]{0,62}$", agency))])
    error_message = "An agency is the name of a table: 1 to 63 lower-case letters, digits or _, a letter first."
  }

  validation {
    condition     = length(distinct(var.agencies)) == length(var.agencies)
    error_message = "agencies lists an agency twice: write each one once."
  }
}

variable "bedrock_models" {
  type = map(object({
    input_usd_per_1k_tokens  = optional(number)
    output_usd_per_1k_tokens = optional(number)
    as_of                    = optional(string)
    batch                    = optional(bool)
    batch_regions            = optional(list(string))
    minimum_records          = optional(number)
    structured_output        = optional(bool)
    flex_tier                = optional(bool)
    end_of_life              = optional(string)
  }))
  description = <<-EOT
    Models to add to those of foundation/models.json, or to change, by the model id or inference profile id that jobs name.
    Prices are on demand, in US dollars for 1,000 tokens, as_of the day they were read; batch inference costs half. Jobs can run on
    every model of both that batch inference takes in this region.
  EOT
  default     = {}

  validation {
    condition     = alltrue([for id in keys(var.bedrock_models) : can(regex("^[a-z0-9.:-]+$", id))])
    error_message = "bedrock_models holds model ids such as amazon.nova-lite-v1:0, or inference profile ids such as us.amazon.nova-lite-v1:0."
  }

  validation {
    condition     = alltrue([for model in values(var.bedrock_models) : coalesce(model.input_usd_per_1k_tokens, 0) >= 0 && coalesce(model.output_usd_per_1k_tokens, 0) >= 0 && coalesce(model.minimum_records, 1) >= 1])
    error_message = "A price is not negative, and minimum_records is at least 1."
  }

  validation {
    condition     = alltrue([for day in flatten([for model in values(var.bedrock_models) : [model.as_of, model.end_of_life]]) : day == null ? true : can(formatdate("YYYY", "${day}T00:00:00Z"))])
    error_message = "as_of and end_of_life are days such as 2026-10-05."
  }
}

variable "bedrock_default_model" {
  type        = string
  description = "Model for jobs that name none."
  default     = "amazon.nova-lite-v1:0"
}

variable "bedrock_quotas" {
  type = object({
    minimum_records = optional(number)
    records_per_job = optional(number)
    bytes_per_file  = optional(number)
    concurrent_jobs = optional(number)
  })
  description = <<-EOT
    The account's quotas of batch inference, as Service Quotas shows them for the models in use: fewest and most records of a
    job, bytes of an input file, jobs of a model that are submitted or run at once. Missing values have AWS's default.
  EOT
  default     = {}

  validation {
    condition     = alltrue([for quota in values(var.bedrock_quotas) : quota == null ? true : quota >= 1 && floor(quota) == quota])
    error_message = "A quota is a whole number from 1."
  }

  validation {
    condition     = var.bedrock_quotas.minimum_records == null || var.bedrock_quotas.records_per_job == null ? true : var.bedrock_quotas.minimum_records <= var.bedrock_quotas.records_per_job
    error_message = "minimum_records is at most records_per_job."
  }
}

variable "sync_window_seconds" {
  type        = number
  description = "Seconds that content is collected before it is merged into the lake. Each merge is a commit with new files, so a longer window is cheaper."
  default     = 300

  validation {
    condition     = var.sync_window_seconds >= 0 && var.sync_window_seconds <= 300 && floor(var.sync_window_seconds) == var.sync_window_seconds
    error_message = "sync_window_seconds is a whole number from 0 to 300 (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html)."
  }
}

variable "jwt_issuer" {
  type        = string
  description = "Issuer (https://…) of the tokens that the admin API accepts. If null, IAM authorises."
  default     = null

  validation {
    condition     = var.jwt_issuer == null ? true : can(regex("^https://", var.jwt_issuer))
    error_message = "jwt_issuer is an https address, as in the tokens' iss."
  }
}

variable "jwt_audience" {
  type        = list(string)
  description = "A token must have one of these audiences."
  default     = []

  validation {
    condition     = var.jwt_issuer == null || length(var.jwt_audience) > 0
    error_message = "With jwt_issuer, set jwt_audience too: without it, the API would accept every token of the issuer."
  }
}

variable "endpoint_url" {
  type        = string
  description = "Endpoint of the local AWS, passed on as an output."
  default     = null
}
