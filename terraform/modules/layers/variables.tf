variable "deployment" {
  type        = object({ suffix = string, runtime = string, architecture = string })
  description = "Suffix of names, and what the artefacts are built for."
}

variable "artifacts" {
  type        = map(object({ bucket = string, key = string, sha256 = string }))
  description = "Where each artefact lies, by name."
}

variable "duckdb" {
  type        = bool
  description = "With the layer of DuckDB."
}
