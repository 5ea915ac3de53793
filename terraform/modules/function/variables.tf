variable "name" {
  type        = string
  description = "Name of the function and its log group."
}

variable "role_name" {
  type        = string
  description = "Name of the role; null: the function's."
  default     = null
}

variable "description" {
  type        = string
  description = "What the function does."
}

variable "runtime" {
  type        = string
  description = "Lambda runtime of the artefact."
}

variable "architecture" {
  type        = string
  description = "Lambda architecture of the artefact."
}

variable "artifact" {
  type        = object({ bucket = string, key = string, sha256 = string })
  description = "The function's zip: its location, and its SHA-256 in base64."
}

variable "layer_arns" {
  type        = list(string)
  description = "Layer versions."
  default     = []
}

variable "memory_mb" {
  type        = number
  description = "Memory in MB. CPU is proportional: one core at 1,769 MB."
}

variable "timeout_seconds" {
  type        = number
  description = "Time-out in seconds, at most 900."
}

variable "temporary_mb" {
  type        = number
  description = "Space in /tmp in MB."
  default     = 512
}

variable "environment" {
  type        = map(string)
  description = "Environment variables."
  default     = {}
}

variable "statements" {
  type = list(object({
    Sid       = string
    Effect    = string
    Action    = list(string)
    Resource  = list(string)
    Condition = optional(map(map(list(string))))
  }))
  description = "Permissions of the function's role, in addition to writing its log."
  default     = []
}

variable "vpc" {
  type        = object({ subnet_ids = list(string), security_group_ids = list(string) })
  description = "Subnets and security groups that the function works in; null: none."
  default     = null
}

variable "policy_arns" {
  type        = map(string)
  description = "Managed policies of the role, by a key that is known before they exist."
  default     = {}
}

variable "failed_events_queue_arn" {
  type        = string
  description = "Queue for events that the function failed on, if it is called asynchronously."
  default     = null
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts environment and log."
}

variable "log_retention_days" {
  type        = number
  description = "Days that log events are kept."
}

variable "xray_tracing" {
  type        = bool
  description = "Trace the function with X-Ray."
  default     = false
}
