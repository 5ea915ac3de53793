variable "deployment" {
  type        = object({ suffix = string, runtime = string, architecture = string })
  description = "Suffix of names, and runtime of the artefacts."
}

variable "artifacts" {
  type        = map(object({ bucket = string, key = string, sha256 = string }))
  description = "Location of each artefact, by name."
}

variable "bedrock_batches" {
  type        = bool
  description = "Whether to add the layer of Bedrock batches, the SDK."
}
