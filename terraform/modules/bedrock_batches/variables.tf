variable "deployment" {
  type = object({
    suffix             = string
    partition          = string
    account_id         = string
    region             = string
    runtime            = string
    architecture       = string
    protected          = bool
    short_lived        = bool
    metrics_namespace  = string
    log_retention_days = number
    log_level          = string
    xray_tracing       = bool
  })
  description = "Settings that everything in an environment shares: suffix of names, account and region, protection and life of the data, runtime of the artefacts, logs, traces, metrics."
}

variable "artifacts" {
  type        = map(object({ bucket = string, key = string, sha256 = string }))
  description = "Location of each artefact, by name."
}

variable "layer_arns" {
  type        = list(string)
  description = "Layer versions of every function."
}

variable "duckdb_layer_arn" {
  type        = string
  description = "Layer version with DuckDB."
}

variable "sdk_layer_arn" {
  type        = string
  description = "Layer version with the AWS SDK that submits jobs."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts stored data."
}

variable "queue_key_arn" {
  type        = string
  description = "The same key for queues, which can be created before it has its policy."
}

variable "table_bucket_arn" {
  type        = string
  description = "ARN of the lake's table bucket."
}

variable "namespace" {
  type        = string
  description = "Namespace of the agencies' tables."
}

variable "agencies" {
  type        = list(string)
  description = "Agencies. Each has a table with its name."
}

variable "data_bucket_name" {
  type        = string
  description = "Name of the bucket of bedrock-batches/."
}

variable "notification_topic_arn" {
  type        = string
  description = "Topic for the end of jobs and for alarms."
}

variable "models" {
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
  description = "Models to add to those of models.json, and changes to those."
  default     = {}
}

variable "default_model" {
  type        = string
  description = "Model for requests that name none."
}

variable "quotas" {
  type = object({
    minimum_records = optional(number)
    records_per_job = optional(number)
    bytes_per_file  = optional(number)
    concurrent_jobs = optional(number)
  })
  description = "The account's quotas of batch inference. Missing ones have AWS's default."
  default     = {}
}

variable "sync_window_seconds" {
  type        = number
  description = "Seconds that content is collected before it is merged into the lake."
}

variable "routes" {
  type        = list(object({ key = string, permissions = list(object({ action = string, resource = string })) }))
  description = "Routes of the admin API and their permissions, from contract.json of the artefacts."
}

variable "jwt_issuer" {
  type        = string
  description = "Issuer of the tokens that the API accepts. If null, IAM authorises."
}

variable "jwt_audience" {
  type        = list(string)
  description = "A token must have one of these audiences."
}
