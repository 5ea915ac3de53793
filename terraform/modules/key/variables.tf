variable "name" {
  type        = string
  description = "Name of the key's alias."
}

variable "deployment" {
  type        = object({ partition = string, account_id = string, region = string })
  description = "Account and region of the key."
}
