variable "name" {
  type        = string
  description = "Name of the key's alias."
}

variable "partition" {
  type        = string
  description = "AWS partition."
}

variable "account_id" {
  type        = string
  description = "Account that the key belongs to."
}

variable "region" {
  type        = string
  description = "Region that the key belongs to."
}
