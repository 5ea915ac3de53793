# Example: EventBridge Scheduler starts a batch every night.

terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "name" {
  type        = string
  description = "Name of the schedule and its role."
}

variable "batch_processor_state_machine_arn" {
  type        = string
  description = "Terraform output batch_processor_state_machine_arn."
}

variable "input" {
  type        = object({ csv_s3_uri = string, target = object({ type = string, name = string }) })
  description = "The batch's input document."
}

variable "schedule_expression" {
  type        = string
  description = "When to start (https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html)."
  default     = "cron(0 2 * * ? *)"
}

variable "enabled" {
  type        = bool
  description = "Whether it starts batches."
  default     = true
}

resource "aws_iam_role" "this" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "start-batches"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "states:StartExecution"
      Resource = var.batch_processor_state_machine_arn
    }]
  })
}

resource "aws_scheduler_schedule" "this" {
  # checkov:skip=CKV_AWS_297:The input document names objects; it holds no data that would need a key of its own.
  name                = var.name
  schedule_expression = var.schedule_expression
  state               = var.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = var.batch_processor_state_machine_arn
    role_arn = aws_iam_role.this.arn
    input    = jsonencode(var.input)

    # Another start could run the batch twice; the next night comes.
    retry_policy {
      maximum_retry_attempts = 0
    }
  }
}
