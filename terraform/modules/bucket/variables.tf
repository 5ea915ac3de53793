variable "name" {
  type        = string
  description = "Name of the bucket."
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts the objects."
}

variable "force_destroy" {
  type        = bool
  description = "Delete the objects when the bucket is destroyed."
}

variable "expiring_prefix" {
  type        = string
  description = "Prefix of objects that expire; null: none do."
  default     = null
}

variable "expire_after_days" {
  type        = number
  description = "Days until objects below expiring_prefix expire."
  default     = null
}
