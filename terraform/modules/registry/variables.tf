variable "name" {
  type        = string
  description = "Name of the table."
}

variable "policy_name" {
  type        = string
  description = "Prefix of the names of the policies to invoke targets."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts the table."
}

variable "protected" {
  type        = bool
  description = "Whether to protect the table from deletion."
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
  }))
  description = "Targets by registered name."
}
