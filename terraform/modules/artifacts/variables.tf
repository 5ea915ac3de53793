variable "bucket" {
  type        = string
  description = "Bucket for the artefacts."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts them."
}

variable "artifacts" {
  type        = map(object({ path = string, sha256 = string }))
  description = "Artefacts by name, from the manifest: path from the repository's root, SHA-256 in base64."
}
