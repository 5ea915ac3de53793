variable "name" {
  type        = string
  description = "Name of the API."
}

variable "account_id" {
  type        = string
  description = "Account."
}

variable "function_name" {
  type        = string
  description = "Name of the function that handles requests."
}

variable "function_arn" {
  type        = string
  description = "ARN of the function that handles requests."
}

variable "routes" {
  type        = list(string)
  description = "Route keys, such as GET /admin/bedrock/batch/{jobId}."
}

variable "jwt_issuer" {
  type        = string
  description = "Issuer of the accepted tokens. If null, IAM authorises."
}

variable "jwt_audience" {
  type        = list(string)
  description = "A token must have one of these audiences."
}

variable "requests_per_second" {
  type        = number
  description = "Allowed requests a second; twice as many in a burst."
  default     = 20
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts the access log."
}

variable "log_retention_days" {
  type        = number
  description = "Days that log events are kept."
}
