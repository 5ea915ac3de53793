# A function: published, with a log of its own and no right that was not given.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "batch-processor-sample"
  description        = "Sample"
  runtime            = "python3.13"
  architecture       = "arm64"
  artifact           = { bucket = "bucket", key = "sample.zip", sha256 = "c2FtcGxl" }
  memory_mb          = 256
  timeout_seconds    = 60
  kms_key_arn        = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  log_retention_days = 30
}

run "it_is_published_and_logs_to_its_group" {
  command = plan

  module {
    source = "./modules/function"
  }

  assert {
    condition     = aws_lambda_function.this.publish && aws_cloudwatch_log_group.this.name == "/aws/lambda/batch-processor-sample"
    error_message = "Published, with its own log group."
  }

  assert {
    condition     = aws_lambda_function.this.runtime == "python3.13" && aws_lambda_function.this.architectures[0] == "arm64"
    error_message = "As the manifest says."
  }
}

run "its_environment_is_encrypted_with_our_key" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    environment = { LOG_LEVEL = "INFO" }
  }

  assert {
    condition     = aws_lambda_function.this.kms_key_arn == var.kms_key_arn
    error_message = "Environment variables are encrypted with the environment's key."
  }
}

run "without_an_environment_it_names_no_key" {
  # Lambda forgets it, so that every plan would want to set it again.
  command = plan

  module {
    source = "./modules/function"
  }

  assert {
    condition     = aws_lambda_function.this.kms_key_arn == null
    error_message = "There is nothing to encrypt: ${coalesce(aws_lambda_function.this.kms_key_arn, "null")}"
  }
}

run "its_role_has_the_given_statements_and_its_log" {
  command = apply

  module {
    source = "./modules/function"
  }

  variables {
    statements = [{ Sid = "Read", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["arn:aws:s3:::bucket/work/*"] }]
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Sid] == ["Logs", "Read"]
    error_message = aws_iam_role_policy.this.policy
  }

  assert {
    condition     = !can(jsondecode(aws_iam_role_policy.this.policy).Statement[1].Condition)
    error_message = "IAM refuses a null condition."
  }
}

run "its_role_may_send_failed_events_to_their_queue" {
  # Lambda refuses the destination otherwise.
  command = apply

  module {
    source = "./modules/function"
  }

  variables {
    failed_events_queue_arn = "arn:aws:sqs:us-east-1:123456789012:undelivered"
  }

  assert {
    condition = anytrue([
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement :
      contains(statement.Action, "sqs:SendMessage") && statement.Resource == "arn:aws:sqs:us-east-1:123456789012:undelivered"
    ])
    error_message = aws_iam_role_policy.this.policy
  }
}
