variable "name" {
  type        = string
  description = "Name of the key's alias."
}

variable "deployment" {
  type        = object({ partition = string, account_id = string, region = string, short_lived = bool })
  description = "Account and region of the key, and whether it is too short-lived to rotate."
}
