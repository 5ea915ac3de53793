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
    input             = optional(map(object({ description = optional(string, ""), required = optional(bool, true) })), {})
    output            = optional(list(object({ name = string, source = optional(string), type = optional(string, "string") })), [])
    prices            = optional(object({ input_usd_per_million_tokens = number, output_usd_per_million_tokens = number }))
  }))
  description = "Targets by registered name."
}

variable "schemas" {
  type        = map(object({ agent = string, version = string, document = string, locked_sha256 = optional(string) }))
  description = "Schemas of agents' outputs by the name of their file: document as JSON, and the hash that the lock file has for the version."
  default     = {}

  validation {
    condition     = alltrue([for name, schema in var.schemas : schema.agent == name])
    error_message = "A schema's file has the name of its agent: ${join(", ", [for name, schema in var.schemas : "${name}.yaml is of agent ${schema.agent}" if schema.agent != name])}."
  }

  validation {
    condition     = alltrue([for schema in values(var.schemas) : schema.locked_sha256 == null ? false : schema.locked_sha256 == sha256(schema.document)])
    error_message = "Changed, or not in schemas/schemas.lock.json: ${join(", ", [for name, schema in var.schemas : "${name} version ${schema.version}" if schema.locked_sha256 == null ? true : schema.locked_sha256 != sha256(schema.document)])}. Give a changed schema a new version, run `make schema-lock`, and commit both files."
  }
}
