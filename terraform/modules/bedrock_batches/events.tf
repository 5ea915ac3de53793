# The triggers of the functions: output objects, Bedrock's events, schedules, the stream of the content.

locals {
  # S3 refuses overlapping suffixes, so neither of these ends in the other.
  output_suffixes = { bedrock = ".jsonl.out", older = ".jsonl" }

  rules_arn      = "arn:${var.deployment.partition}:events:${var.deployment.region}:${var.deployment.account_id}:rule"
  job_rule_names = { for name in keys(local.job_rules) : name => "ventureos-bedrock-job-${name}${var.deployment.suffix}" }

  job_rules = {
    status = {
      description = "A Bedrock batch inference job has changed its status"
      schedule    = null
      function    = "bedrock_job_events"
      input       = null
      # https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-eventbridge.html
      pattern = jsonencode({
        source      = ["aws.bedrock"]
        detail-type = ["Batch Inference Job State Change"]
        detail      = { batchJobName = [{ prefix = "batch-" }] }
      })
    }
    clock = {
      description = "Checks Bedrock batch jobs that are not settled"
      schedule    = "rate(5 minutes)"
      function    = "bedrock_job_events"
      input       = null
      pattern     = null
    }
    sync = {
      description = "Merges content that could not be merged into the lake before, and settles jobs"
      schedule    = "rate(15 minutes)"
      function    = "bedrock_sync"
      input       = jsonencode({ heal = true })
      pattern     = null
    }
  }
}

# A bucket can have one such resource. A second one would replace the first.
resource "aws_s3_bucket_notification" "output" {
  bucket = module.data_bucket.name

  dynamic "lambda_function" {
    for_each = local.output_suffixes

    content {
      id                  = lambda_function.key
      lambda_function_arn = module.function["bedrock_batch_result"].arn
      events              = ["s3:ObjectCreated:*"]
      filter_prefix       = "${local.prefix}/output/"
      filter_suffix       = lambda_function.value
    }
  }

  # S3 tests that it can call the function.
  depends_on = [aws_lambda_permission.output]
}

resource "aws_lambda_permission" "output" {
  statement_id   = "output-objects"
  action         = "lambda:InvokeFunction"
  function_name  = module.function["bedrock_batch_result"].name
  principal      = "s3.amazonaws.com"
  source_arn     = module.data_bucket.arn
  source_account = var.deployment.account_id
}

resource "aws_cloudwatch_event_rule" "job_events" {
  for_each = local.job_rules

  name                = local.job_rule_names[each.key]
  description         = each.value.description
  schedule_expression = each.value.schedule
  event_pattern       = each.value.pattern
}

resource "aws_cloudwatch_event_target" "job_events" {
  for_each = local.job_rules

  rule      = aws_cloudwatch_event_rule.job_events[each.key].name
  target_id = "job-events"
  arn       = module.function[each.value.function].arn
  input     = each.value.input

  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 20
  }

  dead_letter_config {
    arn = aws_sqs_queue.undelivered.arn
  }
}

resource "aws_lambda_permission" "job_events" {
  for_each = local.job_rules

  statement_id   = "job-${each.key}"
  action         = "lambda:InvokeFunction"
  function_name  = module.function[each.value.function].name
  principal      = "events.amazonaws.com"
  source_arn     = aws_cloudwatch_event_rule.job_events[each.key].arn
  source_account = var.deployment.account_id
}

# As for finish_run, in the module of row batches.
resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = toset(local.called_by_events)

  function_name                = module.function[each.key].name
  maximum_event_age_in_seconds = 21600

  destination_config {
    on_failure {
      destination = aws_sqs_queue.undelivered.arn
    }
  }
}

resource "aws_lambda_event_source_mapping" "content" {
  event_source_arn                   = aws_dynamodb_table.violations.stream_arn
  function_name                      = module.function["bedrock_sync"].arn
  starting_position                  = "TRIM_HORIZON"
  batch_size                         = 5000
  maximum_batching_window_in_seconds = var.sync_window_seconds
  # The function returns the first record to retry, and Lambda repeats from there. The function stores everything that it
  # cannot merge, and a schedule replays it. If the function dies, a smaller batch can succeed.
  function_response_types        = ["ReportBatchItemFailures"]
  bisect_batch_on_function_error = true
  maximum_retry_attempts         = 10

  filter_criteria {
    filter {
      pattern = jsonencode({
        eventName = ["INSERT", "MODIFY"]
        dynamodb  = { Keys = { SK = { S = ["BEDROCK_CONTENT"] } } }
      })
    }
  }

  destination_config {
    on_failure {
      destination_arn = aws_sqs_queue.undelivered.arn
    }
  }

  # Lambda checks that the role can read the stream. The role's ARN is known before its policy takes effect.
  depends_on = [module.function]
}
