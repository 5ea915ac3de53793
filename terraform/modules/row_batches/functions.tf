# The functions of row batches. Their permissions are in policies.tf.

locals {
  functions = {
    validate_input = {
      description = "Checks a batch's input document, stages its CSV and plans the run"
      # Staging is CPU-bound parsing of a stream at flat memory: this buys over half a core.
      memory_mb = 1024
      # The longest there is: the CSV may have 10 GB.
      timeout_seconds = 900
      environment = {
        INPUT_BUCKETS       = jsonencode(var.input_buckets)
        REGISTRY_TABLE      = var.registry_table
        WORK_RETENTION_DAYS = tostring(var.work_retention_days)
      }
    }
    process_tool_rows = {
      description = "Runs a batch of rows through a tool"
      # Up to 30 answers of 6 MB as they came, one of them parsed, and finished rows on their way: half of it at most.
      # The rest buys the CPU share that serves 30 calls.
      memory_mb = 1024
      # The longest there is: it returns the rows that it did not start when too little is left for one more.
      timeout_seconds = 900
      environment     = { DEAD_LETTER_QUEUE_URL = aws_sqs_queue.dead_letters.url }
    }
    map_input = {
      description = "Maps one row to an agent's input"
      # One row of at most 200,000 bytes and one small object to read.
      memory_mb = 256
      # A read of S3 with the SDK's own retries is over in a few seconds; the state machine retries after that.
      timeout_seconds = 60
      environment     = {}
    }
    map_output = {
      description = "Maps an agent's answer to one row, or decides on another attempt"
      # One answer of at most 256 KiB, one small object to write.
      memory_mb = 256
      # As map_input.
      timeout_seconds = 60
      environment     = { DEAD_LETTER_QUEUE_URL = aws_sqs_queue.dead_letters.url }
    }
    aggregate_results = {
      description = "Puts the finished rows together to the output, the failed rows and the summary"
      # Streams with 256 MB at most; what is above buys the CPU share that keeps the stream at S3's pace.
      memory_mb = 1024
      # It stops after 12 minutes and is called again: 3 minutes to finish the part in hand.
      timeout_seconds = 900
      environment = {
        DEAD_LETTER_QUEUE_URL = aws_sqs_queue.dead_letters.url
        METRICS_NAMESPACE     = var.deployment.metrics_namespace
      }
    }
    notify = {
      description = "Announces the end of a batch; for an aborted one, puts together what exists"
      # Aggregates as aggregate_results does, and no one waits for it.
      memory_mb = 512
      # The longest there is: it waits until the workers of an aborted run are through, 840 s for a row and 30 s to write
      # it, which a second call may have to go on with.
      timeout_seconds = 900
      environment = {
        METRICS_NAMESPACE      = var.deployment.metrics_namespace
        NOTIFICATION_TOPIC_ARN = aws_sns_topic.notifications.arn
      }
    }
  }

  common_environment = {
    RESULTS_BUCKET          = var.results_bucket
    POWERTOOLS_SERVICE_NAME = "batch-processor"
    POWERTOOLS_LOG_LEVEL    = var.deployment.log_level
  }

  function_names = { for name in keys(local.functions) : name => "batch-processor-${replace(name, "_", "-")}${var.deployment.suffix}" }
}

module "function" {
  source   = "../function"
  for_each = local.functions

  name         = local.function_names[each.key]
  description  = each.value.description
  runtime      = var.deployment.runtime
  architecture = var.deployment.architecture
  artifact     = var.artifacts["functions/${each.key}"]
  layer_arns   = var.layer_arns

  memory_mb       = each.value.memory_mb
  timeout_seconds = each.value.timeout_seconds
  environment     = merge(local.common_environment, each.value.environment)
  statements      = concat(local.function_statements[each.key], [local.use_key])
  policy_arns     = lookup(local.function_policy_arns, each.key, {})

  # Only notify is called by events; the errors of the others reach the state machine.
  dead_letter_queue_arn = each.key == "notify" ? aws_sqs_queue.undelivered_events.arn : null

  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  xray_tracing       = var.deployment.xray_tracing
}
