locals {
  alarm_actions = [aws_sns_topic.notifications.arn]

  # Batches report their cost per target; an alarm cannot sum over targets that it does not know, so the sum is taken from the log.
  cost_log_groups = toset(["aggregate_results", "notify"])
}

resource "aws_cloudwatch_log_metric_filter" "cost" {
  for_each = local.cost_log_groups

  name           = "batch-processor-cost-${replace(each.key, "_", "-")}${var.suffix}"
  log_group_name = module.function[each.key].log_group
  pattern        = "{ $.EstimatedCostUSD = * }"

  metric_transformation {
    namespace = local.metrics_namespace
    name      = "EstimatedCostUSDOfAllTargets"
    value     = "$.EstimatedCostUSD"
    unit      = "None"
  }
}

resource "aws_cloudwatch_metric_alarm" "daily_cost" {
  alarm_name          = "batch-processor-daily-cost${var.suffix}"
  alarm_description   = "The batches of a day are estimated to cost more than ${var.daily_cost_alarm_usd} USD."
  namespace           = local.metrics_namespace
  metric_name         = "EstimatedCostUSDOfAllTargets"
  statistic           = "Sum"
  period              = 86400
  evaluation_periods  = 1
  threshold           = var.daily_cost_alarm_usd
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "failed_executions" {
  alarm_name          = "batch-processor-failed-executions${var.suffix}"
  alarm_description   = "A batch ended in failure: see its execution's error and cause."
  namespace           = "AWS/States"
  metric_name         = "ExecutionsFailed"
  dimensions          = { StateMachineArn = local.state_machine_arn }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "queues" {
  for_each = {
    dead-letters       = { queue = aws_sqs_queue.dead_letters.name, description = "Failed rows wait in the dead-letter queue." }
    undelivered-events = { queue = aws_sqs_queue.undelivered_events.name, description = "The end of a batch was not announced: notify could not be called, or failed." }
  }

  alarm_name          = "batch-processor-${each.key}${var.suffix}"
  alarm_description   = each.value.description
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "functions" {
  # What these three raise is an answer about a user's document or row, and the state machine's to handle.
  for_each = {
    for pair in setproduct(keys(local.functions), ["Errors", "Throttles"]) : "${pair[0]}-${pair[1]}" => { function = pair[0], metric = pair[1] }
    if pair[1] == "Throttles" || !contains(["validate_input", "map_input", "map_output"], pair[0])
  }

  alarm_name          = "${local.function_names[each.value.function]}-${lower(each.value.metric)}"
  alarm_description   = each.value.metric == "Errors" ? "Function ${each.value.function} failed: see its log group." : "Function ${each.value.function} was throttled: raise the account's concurrency, or lower max_concurrency."
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = local.function_names[each.value.function] }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = "batch-processor${var.suffix}"
  dashboard_body = jsonencode({
    widgets = [
      for number, widget in local.widgets : {
        type   = "metric"
        x      = number % 2 * 12
        y      = floor(number / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = widget.title
          region  = var.region
          period  = 300
          stat    = widget.stat
          metrics = widget.metrics
        }
      }
    ]
  })
}

locals {
  # Without the quotes a search refuses the `-` of a suffix
  # (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html).
  by_target = "\"${local.metrics_namespace}\",target"

  widgets = [
    {
      title   = "Rows by target"
      stat    = "Sum"
      metrics = [for metric in ["RowsProcessed", "RowsFailed"] : [{ expression = "SEARCH('{${local.by_target}} ${metric}', 'Sum')", label = metric }]]
    },
    {
      title   = "Milliseconds a batch, by target"
      stat    = "Average"
      metrics = [[{ expression = "SEARCH('{${local.by_target}} ProcessingTime', 'Average')" }]]
    },
    {
      title   = "Rows in flight, peak by target"
      stat    = "Maximum"
      metrics = [[{ expression = "SEARCH('{${local.by_target}} ConcurrentExecutions', 'Maximum')" }]]
    },
    {
      title   = "Estimated cost in USD, by target"
      stat    = "Sum"
      metrics = [[{ expression = "SEARCH('{${local.by_target}} EstimatedCostUSD', 'Sum')" }]]
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
      metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.dead_letters.name]]
    },
  ]
}
