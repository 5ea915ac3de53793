locals {
  alarm_actions = [var.notification_topic_arn]

  # The models that jobs can run on. Bedrock's metrics have no other dimension.
  watched_models = toset(keys(var.models))
}

resource "aws_cloudwatch_metric_alarm" "sync_failed" {
  alarm_name          = "ventureos-bedrock-sync-failed${var.suffix}"
  alarm_description   = "Content is not in the lake: see sync-failed/ of the data bucket, then run make resync."
  namespace           = local.metrics_namespace
  metric_name         = "SyncFailed"
  dimensions          = { target = "bedrock_sync" }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "functions" {
  for_each = {
    for pair in setproduct(keys(local.functions), ["Errors", "Throttles"]) : "${pair[0]}-${pair[1]}" => { function = pair[0], metric = pair[1] }
  }

  alarm_name          = "${local.function_names[each.value.function]}-${lower(each.value.metric)}"
  alarm_description   = each.value.metric == "Errors" ? "Function ${each.value.function} failed: see its log group." : "Function ${each.value.function} was throttled: raise the account's concurrency."
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

resource "aws_cloudwatch_metric_alarm" "undelivered" {
  alarm_name          = local.undelivered_name
  alarm_description   = "A function of Bedrock batches failed for good on an event, or could not be given it."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.undelivered.name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "api" {
  alarm_name          = "${local.function_names["bedrock_admin_api"]}-5xx"
  alarm_description   = "The admin API answered with an error of ours: see its access log, then the function's log group."
  namespace           = "AWS/ApiGateway"
  metric_name         = "5xx"
  dimensions          = { ApiId = module.admin_api.id }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
}

# Records wait and no token has been processed for half an hour
# (https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring.html).
resource "aws_cloudwatch_metric_alarm" "stuck" {
  for_each = local.watched_models

  alarm_name          = "ventureos-bedrock-stuck-${replace(each.key, "/[^A-Za-z0-9-]/", "-")}${var.suffix}"
  alarm_description   = "Batch inference on ${each.key} stands still: records wait, and none was processed for half an hour."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 6
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions

  metric_query {
    id          = "stuck"
    expression  = "IF(pending > 0 AND FILL(tokens, 0) == 0, 1, 0)"
    label       = "Stands still"
    return_data = true
  }

  metric_query {
    id = "pending"

    metric {
      namespace   = "AWS/Bedrock/Batch"
      metric_name = "NumberOfRecordsPendingProcessing"
      dimensions  = { ModelId = each.key }
      period      = 300
      stat        = "Maximum"
    }
  }

  metric_query {
    id = "tokens"

    metric {
      namespace   = "AWS/Bedrock/Batch"
      metric_name = "NumberOfInputTokensProcessedPerMinute"
      dimensions  = { ModelId = each.key }
      period      = 300
      stat        = "Maximum"
    }
  }
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = "ventureos-bedrock-batches${var.suffix}"
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
  widgets = [
    {
      title   = "Records that wait in Bedrock, by model"
      stat    = "Maximum"
      metrics = [for model in local.watched_models : ["AWS/Bedrock/Batch", "NumberOfRecordsPendingProcessing", "ModelId", model]]
    },
    {
      title   = "Tokens a minute, by model"
      stat    = "Average"
      metrics = [for model in local.watched_models : ["AWS/Bedrock/Batch", "NumberOfInputTokensProcessedPerMinute", "ModelId", model]]
    },
    {
      title   = "Content merged into the lake, and what could not be"
      stat    = "Sum"
      metrics = [for metric in ["SyncMerged", "SyncFailed"] : [local.metrics_namespace, metric, "target", "bedrock_sync"]]
    },
    {
      title   = "Age of the oldest content that waits for the lake, milliseconds"
      stat    = "Maximum"
      metrics = [["AWS/Lambda", "IteratorAge", "FunctionName", local.function_names["bedrock_sync"]]]
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
      title   = "Requests to the admin API"
      stat    = "Sum"
      metrics = [for metric in ["Count", "4xx", "5xx"] : ["AWS/ApiGateway", metric, "ApiId", module.admin_api.id]]
    },
    {
      title   = "Undelivered events"
      stat    = "Maximum"
      metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", aws_sqs_queue.undelivered.name]]
    },
  ]
}
