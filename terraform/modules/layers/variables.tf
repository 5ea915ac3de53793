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
