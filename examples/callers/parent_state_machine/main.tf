# Example: a state machine of your own that starts a batch, waits for its end and goes on with its output document.

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
  description = "Name of the state machine and its role."
}

variable "batch_processor_state_machine_arn" {
  type        = string
  description = "Terraform output batch_processor_state_machine_arn."
}

variable "caller_policy_json" {
  type        = string
  description = "Terraform output caller_policy_json."
}

resource "aws_iam_role" "this" {
  name = var.name
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "states.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name   = "run-batches"
  role   = aws_iam_role.this.id
  policy = var.caller_policy_json
}

resource "aws_sfn_state_machine" "this" {
  # checkov:skip=CKV_AWS_284:An example; the batch that it starts is traced by its own setting.
  # checkov:skip=CKV_AWS_285:An example with two states; the batch that it starts keeps a log.
  name     = var.name
  role_arn = aws_iam_role.this.arn
  definition = templatefile("${path.module}/parent.asl.json", {
    batch_processor_state_machine_arn = var.batch_processor_state_machine_arn
    partition                         = split(":", var.batch_processor_state_machine_arn)[1]
  })

  depends_on = [aws_iam_role_policy.this]
}

output "arn" {
  description = "ARN of the state machine."
  value       = aws_sfn_state_machine.this.arn
}
