variable "name" {
  type        = string
  description = "Name of the state machine and its role."
}

variable "log_group_name" {
  type        = string
  description = "Name of the log group, if it is documented; null: under /aws/vendedlogs/states/."
  default     = null
}

variable "account_id" {
  type        = string
  description = "Account of the executions that can assume the role."
}

variable "definition" {
  type        = string
  description = "The definition, as JSON."
}

variable "type" {
  type        = string
  description = "STANDARD or EXPRESS."
  default     = "STANDARD"
}

variable "statements" {
  type = list(object({
    Sid       = string
    Effect    = string
    Action    = list(string)
    Resource  = list(string)
    Condition = optional(map(map(list(string))))
  }))
  description = "Permissions of the state machine's role, in addition to delivering its log."
  default     = []
}

variable "policy_arns" {
  type        = map(string)
  description = "Managed policies of the role, by a key that is known before they exist."
  default     = {}
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts the log."
}

variable "log_retention_days" {
  type        = number
  description = "Days that log events are kept."
}

variable "xray_tracing" {
  type        = bool
  description = "Trace executions with X-Ray."
  default     = false
}
