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

variable "duckdb_layer_arn" {
  type        = string
  description = "Layer version with DuckDB."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts what is stored."
}

variable "protected" {
  type        = bool
  description = "Refuse to delete data."
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
  description = "Agencies; each has a table of its name."
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
    input_usd_per_1k_tokens  = number
    output_usd_per_1k_tokens = number
    as_of                    = string
  }))
  description = "Models that jobs may use, with their on-demand prices."
}

variable "default_model" {
  type        = string
  description = "Model of a request that names none."
}

variable "quotas" {
  type = object({
    minimum_records = number
    records_per_job = number
    bytes_per_file  = number
    concurrent_jobs = number
  })
  description = "Bedrock's quotas of batch inference."
}

variable "sync_window_seconds" {
  type        = number
  description = "Seconds that content is gathered before it is merged into the lake."
}

variable "jwt_issuer" {
  type        = string
  description = "Issuer whose tokens the API takes; null: IAM authorises."
}

variable "jwt_audience" {
  type        = list(string)
  description = "Audiences of which a token must have one."
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
  description = "Trace the functions with X-Ray."
}
