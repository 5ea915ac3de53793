variable "name" {
  type        = string
  description = "Name of the table bucket."

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "A table bucket's name has 3 to 63 lower-case letters, digits or -."
  }
}

variable "namespace" {
  type        = string
  description = "Namespace of the agencies' tables."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts the tables."
}
