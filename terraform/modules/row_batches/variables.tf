variable "deployment" {
  type = object({
    suffix             = string
    partition          = string
    account_id         = string
    region             = string
    runtime            = string
    architecture       = string
    protected          = bool
    metrics_namespace  = string
    log_retention_days = number
    log_level          = string
    xray_tracing       = bool
  })
  description = "Settings that everything in an environment shares: suffix of names, account and region, runtime of the artefacts, logs, traces, metrics."
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

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts stored data."
}

variable "queue_key_arn" {
  type        = string
  description = "The same key for queues, which can be created before it has its policy."
}

variable "input_buckets" {
  type        = list(string)
  description = "Buckets that batches can read CSVs from. Callers can write to the first one."
}

variable "input_kms_key_arns" {
  type        = list(string)
  description = "Keys that encrypt additional input buckets."
}

variable "output_buckets" {
  type        = list(string)
  description = "Buckets of users that batches can copy their results to."
}

variable "output_kms_key_arns" {
  type        = list(string)
  description = "Keys that encrypt output buckets."
}

variable "results_bucket" {
  type        = string
  description = "Bucket of work/ and results/."
}

variable "config_yaml" {
  type        = string
  description = "The deployment's configuration, as YAML; empty: defaults."

  validation {
    condition     = length(regexall("(?m)^\\s*[^#\\s]", var.config_yaml)) == 0 || can(yamldecode(var.config_yaml))
    error_message = "The deployment's configuration is not YAML: `make config-check` names the line."
  }

  validation {
    condition = length(setsubtract(
      try(keys(yamldecode(var.config_yaml)), []), ["storage_mode", "agents", "output_mappings", "defaults"]
    )) == 0
    error_message = "The deployment's configuration has an unknown field: `make config-check` names it, its line and the fix."
  }
}

variable "registry_table" {
  type        = string
  description = "Name of the registry's table."
}

variable "registry_table_arn" {
  type        = string
  description = "ARN of the registry's table."
}

variable "inspect_policy_arns" {
  type        = map(string)
  description = "Policies to read the time-outs and versions of the registered targets, by number."
}

variable "synchronous_policy_arns" {
  type        = map(string)
  description = "Policies to call the registered tools and Express agents."
}

variable "standard_policy_arns" {
  type        = map(string)
  description = "Policies to start the registered Standard agents."
}

variable "work_retention_days" {
  type        = number
  description = "Days that work/ objects are kept."
}

variable "dead_letter_days" {
  type        = number
  description = "Days that a message is kept in the dead-letter queue."
}

variable "daily_cost_alarm_usd" {
  type        = number
  description = "Estimated cost of a day, in US dollars, above which an alarm goes off."
}
