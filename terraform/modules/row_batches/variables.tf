variable "suffix" {
  type        = string
  description = "Suffix of names."
}

variable "partition" {
  type        = string
  description = "AWS partition."
}

variable "account_id" {
  type        = string
  description = "Account."
}

variable "region" {
  type        = string
  description = "Region."
}

variable "runtime" {
  type        = string
  description = "Lambda runtime of the artefacts."
}

variable "architecture" {
  type        = string
  description = "Lambda architecture of the artefacts."
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
  description = "Policies that allow to read the time-outs of the registered tools, by their number."
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

variable "log_retention_days" {
  type        = number
  description = "Days that log events are kept."
}

variable "log_level" {
  type        = string
  description = "Log level of the functions."
}

variable "xray_tracing" {
  type        = bool
  description = "Trace functions and state machine with X-Ray."
}

variable "daily_cost_alarm_usd" {
  type        = number
  description = "A day's estimated cost that sets off an alarm, in US dollars."
}
