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
  duckdb_layer_arn        = "arn:aws:lambda:us-east-1:123456789012:layer:ventureos-duckdb:1"
  kms_key_arn             = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  queue_key_arn           = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  input_buckets           = ["input"]
  input_kms_key_arns      = []
  output_buckets          = []
  output_kms_key_arns     = []
  results_bucket          = "results"
  registry_table          = "registry"
  registry_table_arn      = "arn:aws:dynamodb:us-east-1:123456789012:table/registry"
  inspect_policy_arns     = {}
  synchronous_policy_arns = {}
  standard_policy_arns    = {}
  work_retention_days     = 7
  dead_letter_days        = 3
  daily_cost_alarm_usd    = 50
  config_yaml             = ""
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

run "functions_with_memory_for_duckdb_have_its_layer" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = [for name, function in module.function : name if contains(function.layer_arns, var.duckdb_layer_arn)] == [for name, size in jsondecode(file("../layers/core/python/row_batches/functions.json")) : name if can(size.duckdb_memory_mb)]
    error_message = jsonencode({ for name, function in module.function : name => function.layer_arns })
  }

  assert {
    condition     = contains(module.function["validate_input"].layer_arns, var.duckdb_layer_arn)
    error_message = "validate_input reads Parquet files, so it needs DuckDB."
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

run "the_table_of_runs_is_protected_as_the_table_of_rows" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = aws_dynamodb_table.runs.deletion_protection_enabled == var.deployment.protected && aws_dynamodb_table.runs.ttl[0].attribute_name == "ttl"
    error_message = "Deletion protection is the environment's, and items expire by ttl."
  }

  assert {
    condition     = aws_dynamodb_table.runs.point_in_time_recovery[0].enabled && aws_dynamodb_table.runs.server_side_encryption[0].kms_key_arn == var.kms_key_arn
    error_message = "The table can be restored, and is encrypted with the environment's key."
  }
}

run "the_end_of_a_run_and_the_sweep_reach_the_starter_alone" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = sort(jsondecode(aws_cloudwatch_event_rule.finish["execution-ended"].event_pattern).detail.status) == tolist(["ABORTED", "FAILED", "SUCCEEDED", "TIMED_OUT"]) && aws_cloudwatch_event_rule.finish["sweep"].schedule_expression == "rate(15 minutes)"
    error_message = "Every way to end is heard, and the sweep comes every 15 minutes."
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.finish["execution-redriven"].event_pattern).detail.redriveCount[0].numeric[1] == 0
    error_message = "A redrive is heard, and a start is not."
  }

  assert {
    condition     = alltrue([for target in aws_cloudwatch_event_target.finish : target.target_id == "finish-run" && length(target.dead_letter_config) == 1])
    error_message = "What cannot be delivered goes into the queue with the alarm."
  }

  assert {
    condition     = aws_lambda_function_event_invoke_config.finish.function_name == "batch-processor-finish-run-test" && length(aws_lambda_function_event_invoke_config.finish.destination_config[0].on_failure) == 1
    error_message = "What finish_run fails on goes there too."
  }
}

run "the_configuration_reaches_the_functions_as_json" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  variables {
    config_yaml = "# of stage\ndefaults:\n  max_concurrency: 20\n"
  }

  assert {
    condition     = aws_s3_object.config.content == jsonencode({ defaults = { max_concurrency = 20 } })
    error_message = "Not ${aws_s3_object.config.content}."
  }
}

run "a_file_of_comments_gives_nothing" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  variables {
    config_yaml = "# nothing yet\n\n  # and nothing here\n"
  }

  assert {
    condition     = aws_s3_object.config.content == "null"
    error_message = "Not ${aws_s3_object.config.content}."
  }
}

run "a_configuration_that_is_not_yaml_is_refused" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  variables {
    config_yaml = "defaults: [1, 2\nagents: 3\n"
  }

  expect_failures = [var.config_yaml]
}

run "an_unknown_field_of_the_configuration_is_refused" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  variables {
    config_yaml = "default:\n  max_concurrency: 20\n"
  }

  expect_failures = [var.config_yaml]
}

run "nothing_is_granted_without_output_buckets" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = length(local.deliver) == 0
    error_message = jsonencode(local.deliver)
  }
}

run "the_two_functions_that_need_it_can_write_to_output_buckets_and_use_their_keys" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  variables {
    output_buckets      = ["theirs"]
    output_kms_key_arns = ["arn:aws:kms:us-east-1:123456789012:key/11111111-1111-1111-1111-111111111111"]
  }

  assert {
    condition = jsonencode([for statement in local.deliver : [statement.Action, statement.Resource]]) == jsonencode([
      [["s3:PutObject", "s3:AbortMultipartUpload"], ["arn:aws:s3:::theirs/*"]],
      [["kms:GenerateDataKey", "kms:Decrypt"], var.output_kms_key_arns],
    ])
    error_message = jsonencode(local.deliver)
  }

  assert {
    condition = [for name, statements in local.function_statements : name
      if length(setintersection([for statement in statements : statement.Sid], ["Deliver", "EncryptDelivered"])) == 2
    ] == ["aggregate_results", "validate_input"]
    error_message = "Only validate_input, which tries the bucket, and aggregate_results, which copies, can write there."
  }

  assert {
    condition     = local.environments.validate_input.OUTPUT_BUCKETS == jsonencode(["theirs"])
    error_message = local.environments.validate_input.OUTPUT_BUCKETS
  }
}

run "finished_rows_expire_cost_what_is_used_and_failed_ones_have_an_index" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition     = aws_dynamodb_table.results.billing_mode == "PAY_PER_REQUEST"
    error_message = aws_dynamodb_table.results.billing_mode
  }

  assert {
    condition     = [for ttl in aws_dynamodb_table.results.ttl : [ttl.attribute_name, tostring(ttl.enabled)]] == [["ttl", "true"]]
    error_message = jsonencode(aws_dynamodb_table.results.ttl)
  }

  assert {
    condition = [for index in aws_dynamodb_table.results.global_secondary_index : [index.name, index.hash_key, index.range_key]] == [
      ["failed-rows", "failed_batch_id", "row_id"]
    ]
    error_message = jsonencode(aws_dynamodb_table.results.global_secondary_index)
  }
}

run "who_follows_a_run_reads_its_rows_and_a_reader_its_staged_input_too" {
  command = plan

  module {
    source = "./modules/row_batches"
  }

  assert {
    condition = { for statement in local.follow_runs : statement.Sid => [statement.Action, statement.Resource]
      if contains(["ReadRows", "ReadSkipped"], statement.Sid)
      } == {
      ReadRows    = [["s3:GetObject"], ["arn:aws:s3:::results/work/*/rows/*", "arn:aws:s3:::results/work/*/spilled/*"]]
      ReadSkipped = [["s3:GetObject", "s3:GetObjectVersion"], ["arn:aws:s3:::results/work/*/skipped.csv"]]
    }
    error_message = "The list of a run's rows has the skipped ones."
  }

  assert {
    condition = { for name, statements in { caller = local.caller_statements, reader = local.reader_statements } : name => [
      for statement in statements : statement.Sid if contains(["ReadRows", "ReadSkipped", "ReadStaged"], statement.Sid)
    ] } == { caller = ["ReadRows", "ReadSkipped"], reader = ["ReadRows", "ReadSkipped", "ReadStaged"] }
    error_message = "Only a reader verifies outputs, against the staged input if the other one was changed."
  }

  assert {
    condition = [for statement in local.reader_statements : [statement.Action, statement.Resource] if statement.Sid == "ReadStaged"] == [
      [["s3:GetObject", "s3:GetObjectVersion"], ["arn:aws:s3:::results/work/*/input.csv"]]
    ]
    error_message = "A reader reads the version of the staged input that the run read."
  }
}
