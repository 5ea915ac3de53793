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

variable "suffix" {
  type        = string
  description = "Suffix of names."
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

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts the tables."
}
