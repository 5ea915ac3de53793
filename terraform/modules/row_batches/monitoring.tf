# Alarms and a dashboard.

locals {
  # Batches report their cost per target. An alarm cannot sum over unknown targets, so the sum comes from the log.
  cost_log_groups = toset(["aggregate_results"])
}

resource "aws_cloudwatch_log_metric_filter" "cost" {
  for_each = local.cost_log_groups

  name           = "batch-processor-cost-${replace(each.key, "_", "-")}${var.deployment.suffix}"
  log_group_name = module.function[each.key].log_group
  pattern        = "{ $.EstimatedCostUSD = * }"

  metric_transformation {
    namespace = var.deployment.metrics_namespace
    name      = "EstimatedCostUSDOfAllTargets"
    value     = "$.EstimatedCostUSD"
    unit      = "None"
  }
}

module "monitoring" {
  source = "../monitoring"

  region         = var.deployment.region
  topic_arn      = aws_sns_topic.notifications.arn
  alarms         = merge(local.alarms, local.error_alarms, local.throttle_alarms)
  dashboard_name = "batch-processor${var.deployment.suffix}"
  widgets        = local.widgets
}

locals {
  alarms = {
    "batch-processor-daily-cost${var.deployment.suffix}" = {
      description = "The batches of a day are estimated to cost more than ${var.daily_cost_alarm_usd} USD."
      namespace   = var.deployment.metrics_namespace
      metric      = "EstimatedCostUSDOfAllTargets"
      period      = 86400
      threshold   = var.daily_cost_alarm_usd
    }
    "batch-processor-failed-executions${var.deployment.suffix}" = {
      description = "A batch ended in failure: see its execution's error and cause."
      namespace   = "AWS/States"
      metric      = "ExecutionsFailed"
      dimensions  = { StateMachineArn = local.state_machine_arn }
    }
    "batch-processor-failed-finishing${var.deployment.suffix}" = {
      description = "The output of an ended batch could not be written or announced: see the execution of ${local.finish_machine_name}. The sweep tries a missing output again."
      namespace   = "AWS/States"
      metric      = "ExecutionsFailed"
      dimensions  = { StateMachineArn = local.finish_machine_arn }
    }
    "batch-processor-dead-letters${var.deployment.suffix}" = {
      description = "Failed rows wait in the dead-letter queue."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = local.dead_letters_name }
      statistic   = "Maximum"
    }
    "batch-processor-undelivered-events${var.deployment.suffix}" = {
      description = "An ended batch was not finished, because finish_run could not be called, or failed."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = local.undelivered_events_name }
      statistic   = "Maximum"
    }
  }

  error_alarms = {
    for function, name in local.function_names : "${name}-errors" => {
      description = "Function ${function} failed: see its log group."
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      dimensions  = { FunctionName = name }
    }
    # Its errors are about users' documents, and the state machine handles them.
    if function != "validate_input"
  }

  throttle_alarms = {
    for function, name in local.function_names : "${name}-throttles" => {
      description = "Function ${function} was throttled: raise the account's concurrency, or lower max_concurrency."
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
      dimensions  = { FunctionName = name }
    }
  }

  # Without the quotes, a search refuses the `-` of a suffix
  # (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html).
  by_target = "\"${var.deployment.metrics_namespace}\",target"

  widgets = [
    {
      title    = "Rows by target"
      stat     = "Sum"
      searches = [for metric in ["RowsProcessed", "RowsFailed"] : { expression = "SEARCH('{${local.by_target}} ${metric}', 'Sum')", label = metric }]
    },
    {
      title    = "Milliseconds a batch, by target"
      stat     = "Average"
      searches = [{ expression = "SEARCH('{${local.by_target}} ProcessingTime', 'Average')" }]
    },
    {
      title    = "Rows in flight, peak by target"
      stat     = "Maximum"
      searches = [{ expression = "SEARCH('{${local.by_target}} ConcurrentExecutions', 'Maximum')" }]
    },
    {
      title    = "Estimated cost in USD, by target"
      stat     = "Sum"
      searches = [{ expression = "SEARCH('{${local.by_target}} EstimatedCostUSD', 'Sum')" }]
    },
    {
      title   = "Batches"
      stat    = "Sum"
      metrics = [for metric in ["ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsAborted"] : ["AWS/States", metric, "StateMachineArn", local.state_machine_arn]]
    },
    {
      title   = "Function errors"
      stat    = "Sum"
      metrics = [for name in values(local.function_names) : ["AWS/Lambda", "Errors", "FunctionName", name]]
    },
    {
      title   = "Function duration, milliseconds"
      stat    = "Maximum"
      metrics = [for name in values(local.function_names) : ["AWS/Lambda", "Duration", "FunctionName", name]]
    },
    {
      title   = "Failed rows in the dead-letter queue"
      stat    = "Maximum"
      metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", local.dead_letters_name]]
    },
  ]
}
