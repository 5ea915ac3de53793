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

variable "expiry" {
  type        = bool
  description = "Whether anything expires: objects under a prefix of expire_after_days, and the parts of unfinished uploads."
  default     = true
}

variable "expire_after_days" {
  type        = map(number)
  description = "Days until objects expire, by prefix. Objects under no prefix stay."
  default     = {}
}
