variable "deployment" {
  type        = object({ suffix = string, runtime = string, architecture = string })
  description = "Suffix of names, and what the artefacts are built for."
}

variable "artifacts" {
  type        = map(object({ bucket = string, key = string, sha256 = string }))
  description = "Where each artefact lies, by name."
}

variable "bedrock_batches" {
  type        = bool
  description = "With the layers of Bedrock batches: DuckDB and the SDK."
}
