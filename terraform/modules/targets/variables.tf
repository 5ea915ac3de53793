variable "folder" {
  type        = string
  description = "Folder of the targets."
}

variable "artifact_folder" {
  type        = string
  description = "Folder of the tools' artefacts."
}

variable "name" {
  type        = string
  description = "Start of the names of functions and state machines."
}

variable "suffix" {
  type        = string
  description = "Suffix of names."
}

variable "account_id" {
  type        = string
  description = "Account."
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
  description = "Location of each artefact, by name."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts logs and environments."
}

variable "log_retention_days" {
  type        = number
  description = "Days that log events are kept."
}
