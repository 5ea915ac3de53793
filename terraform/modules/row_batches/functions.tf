# The functions of row batches. Their permissions are in policies.tf.

locals {
  # Description, memory, time-out and /tmp of each function, with reasons. The cost model reads the same file.
  sizes = jsondecode(file("${path.module}/../../../layers/core/python/row_batches/functions.json"))

  # Environment variables of each function, in addition to common_environment.
  environments = {
    validate_input = {
      INPUT_BUCKETS       = jsonencode(var.input_buckets)
      OUTPUT_BUCKETS      = jsonencode(var.output_buckets)
      REGISTRY_TABLE      = var.registry_table
      RUNS_TABLE          = aws_dynamodb_table.runs.name
      WORK_RETENTION_DAYS = tostring(var.work_retention_days)
    }
    process_tool_rows = {
      DEAD_LETTER_QUEUE = local.dead_letters_name
      RESULTS_TABLE     = aws_dynamodb_table.results.name
      ANSWERS_TABLE     = aws_dynamodb_table.answers.name
      RUNS_TABLE        = aws_dynamodb_table.runs.name
    }
    map_input = {
      DEAD_LETTER_QUEUE = local.dead_letters_name
      RESULTS_TABLE     = aws_dynamodb_table.results.name
      ANSWERS_TABLE     = aws_dynamodb_table.answers.name
      RUNS_TABLE        = aws_dynamodb_table.runs.name
    }
    map_output = {
      DEAD_LETTER_QUEUE = local.dead_letters_name
      RESULTS_TABLE     = aws_dynamodb_table.results.name
      ANSWERS_TABLE     = aws_dynamodb_table.answers.name
      RUNS_TABLE        = aws_dynamodb_table.runs.name
    }
    aggregate_results = {
      DEAD_LETTER_QUEUE      = local.dead_letters_name
      METRICS_NAMESPACE      = var.deployment.metrics_namespace
      NOTIFICATION_TOPIC_ARN = aws_sns_topic.notifications.arn
      RESULTS_TABLE          = aws_dynamodb_table.results.name
      RUNS_TABLE             = aws_dynamodb_table.runs.name
    }
    notify = { NOTIFICATION_TOPIC_ARN = aws_sns_topic.notifications.arn }
    finish_run = {
      STATE_MACHINE_ARN  = local.state_machine_arn
      FINISH_MACHINE_ARN = local.finish_machine_arn
      RUNS_TABLE         = aws_dynamodb_table.runs.name
    }
  }

  common_environment = {
    RESULTS_BUCKET          = var.results_bucket
    POWERTOOLS_SERVICE_NAME = "batch-processor"
    POWERTOOLS_LOG_LEVEL    = var.deployment.log_level
  }

  function_names = { for name in keys(local.sizes) : name => "batch-processor-${replace(name, "_", "-")}${var.deployment.suffix}" }
}

module "function" {
  source   = "../function"
  for_each = local.sizes

  name         = local.function_names[each.key]
  description  = each.value.description
  runtime      = var.deployment.runtime
  architecture = var.deployment.architecture
  artifact     = var.artifacts["functions/${each.key}"]

  # Functions that have memory for DuckDB get its layer.
  layer_arns = concat(var.layer_arns, lookup(each.value, "duckdb_memory_mb", 0) > 0 ? [var.duckdb_layer_arn] : [])

  memory_mb       = each.value.memory_mb
  timeout_seconds = each.value.timeout_seconds
  temporary_mb    = each.value.temporary_mb
  environment     = merge(local.common_environment, local.environments[each.key])
  statements      = concat(local.function_statements[each.key], [local.use_key])
  policy_arns     = lookup(local.function_policy_arns, each.key, {})

  # Events call only finish_run. The errors of the other functions reach a state machine.
  failed_events_queue_arn = each.key == "finish_run" ? "${local.queues_arn}:${local.undelivered_events_name}" : null

  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  xray_tracing       = var.deployment.xray_tracing
}
