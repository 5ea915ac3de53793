# Row batches: what is watched.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  deployment = {
    suffix             = "-test"
    partition          = "aws"
    account_id         = "123456789012"
    region             = "us-east-1"
    runtime            = "python3.13"
    architecture       = "arm64"
    protected          = false
    metrics_namespace  = "BatchProcessor-test"
    log_retention_days = 30
    log_level          = "INFO"
    xray_tracing       = false
  }
  layer_arns              = ["arn:aws:lambda:us-east-1:123456789012:layer:core:1"]
  kms_key_arn             = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  input_buckets           = ["input"]
  input_kms_key_arns      = []
  results_bucket          = "results"
  registry_table          = "registry"
  registry_table_arn      = "arn:aws:dynamodb:us-east-1:123456789012:table/registry"
  inspect_policy_arns     = {}
  synchronous_policy_arns = {}
  standard_policy_arns    = {}
  work_retention_days     = 7
  dead_letter_days        = 3
  daily_cost_alarm_usd    = 50
  artifacts = { for name in ["validate_input", "process_tool_rows", "map_input", "map_output", "aggregate_results", "notify", "finish_run"] :
    "functions/${name}" => { bucket = "artifacts", key = "${name}.zip", sha256 = "c2FtcGxl" }
  }
}

run "failed_rows_wait_in_the_queue_as_long_as_is_said" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds == 259200
    error_message = "Three days, not ${aws_sqs_queue.dead_letters.message_retention_seconds} s."
  }
}

run "functions_have_the_sizes_of_the_file_that_python_reads" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = jsonencode({ for name, function in module.function : name => function.size }) == jsonencode({ for name, size in jsondecode(file("../layers/core/python/row_batches/functions.json")) : name => [size.memory_mb, size.timeout_seconds, size.temporary_mb] })
    error_message = jsonencode({ for name, function in module.function : name => function.size })
  }
}

run "environments_of_one_account_have_metrics_of_their_own" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition = distinct(concat(
      [local.environments.aggregate_results.METRICS_NAMESPACE],
      [for filter in aws_cloudwatch_log_metric_filter.cost : filter.metric_transformation[0].namespace],
      [local.alarms["batch-processor-daily-cost-test"].namespace],
    )) == tolist(["BatchProcessor-test"])
    error_message = "Functions, filters and alarm name one namespace, that of the environment."
  }

  assert {
    condition     = length([for widget in local.widgets : widget if strcontains(jsonencode(widget), "BatchProcessor-test")]) == 4
    error_message = jsonencode(local.widgets)
  }
}

run "the_definition_has_its_parts" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = length(regexall("\\$\\{(retry_|cause|deployment_errors)", join("", values(local.composed)))) == 0
    error_message = "A part of the definition was left out."
  }

  assert {
    condition     = jsondecode(local.composed.batch_processor).States.FindMissing.Retry[4].ErrorEquals[1] == "Runtime.OutOfMemory"
    error_message = "Parts are put in as JSON."
  }
}
