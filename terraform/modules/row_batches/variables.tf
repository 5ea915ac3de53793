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
  description = "What is the same for everything of an environment: suffix of names, place, runtime of the artefacts, logs, traces, metrics."
}

variable "artifacts" {
  type        = map(object({ bucket = string, key = string, sha256 = string }))
  description = "Where each artefact lies, by name."
}

variable "layer_arns" {
  type        = list(string)
  description = "Layer versions of every function."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts what is stored."
}

variable "input_buckets" {
  type        = list(string)
  description = "Buckets that batches may read their CSV from; callers may write to the first."
}

variable "input_kms_key_arns" {
  type        = list(string)
  description = "Keys of further input buckets."
}

variable "results_bucket" {
  type        = string
  description = "Bucket of work/ and results/."
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
  description = "Policies that allow to read the time-outs and versions of the registered targets, by their number."
}

variable "synchronous_policy_arns" {
  type        = map(string)
  description = "Policies that allow to call the registered tools and Express agents."
}

variable "standard_policy_arns" {
  type        = map(string)
  description = "Policies that allow to start the registered Standard agents."
}

variable "work_retention_days" {
  type        = number
  description = "Days that work/ objects are kept."
}

variable "dead_letter_days" {
  type        = number
  description = "Days that a message waits in the dead-letter queue."
}

variable "daily_cost_alarm_usd" {
  type        = number
  description = "A day's estimated cost that sets off an alarm, in US dollars."
}
