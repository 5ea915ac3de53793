# Alarms and a dashboard.

module "monitoring" {
  source = "../monitoring"

  region         = var.deployment.region
  topic_arn      = var.notification_topic_arn
  alarms         = merge(local.alarms, local.error_alarms, local.throttle_alarms)
  dashboard_name = "ventureos-bedrock-batches${var.deployment.suffix}"
  widgets        = local.widgets
}

locals {
  alarms = {
    "ventureos-bedrock-sync-failed${var.deployment.suffix}" = {
      description = "Content cannot be merged into the lake: sync-failed/ of the data bucket names the reasons."
      namespace   = var.deployment.metrics_namespace
      metric      = "SyncFailed"
      dimensions  = { target = "bedrock_sync" }
    }
    # A clock merges every 15 minutes what waits, and counts what still waits. Each of these periods sees it once.
    "ventureos-bedrock-sync-waiting${var.deployment.suffix}" = {
      description = "Content has waited an hour for the lake: sync-failed/ of the data bucket and the log group of bedrock_sync name the reasons."
      namespace   = var.deployment.metrics_namespace
      metric      = "SyncWaiting"
      dimensions  = { target = "bedrock_sync" }
      statistic   = "Maximum"
      period      = 1200
      periods     = 3
    }
    "ventureos-bedrock-records-failed${var.deployment.suffix}" = {
      description = "More than half of a job's records got no content: GET of the job groups the reasons under failures."
      namespace   = var.deployment.metrics_namespace
      metric      = "FailedRecordsPercent"
      dimensions  = { target = "bedrock_job_events" }
      statistic   = "Maximum"
      threshold   = 50
    }
    (local.undelivered_name) = {
      description = "A function of Bedrock batches failed on an event after all retries, or the event could not be delivered."
      namespace   = "AWS/SQS"
      metric      = "ApproximateNumberOfMessagesVisible"
      dimensions  = { QueueName = local.undelivered_name }
      statistic   = "Maximum"
    }
    "${local.function_names["bedrock_admin_api"]}-5xx" = {
      description = "The admin API answered with a server error: see its access log, then the function's log group."
      namespace   = "AWS/ApiGateway"
      metric      = "5xx"
      dimensions  = { ApiId = module.admin_api.id }
    }
  }

  error_alarms = {
    for function, name in local.function_names : "${name}-errors" => {
      description = "Function ${function} failed: see its log group."
      namespace   = "AWS/Lambda"
      metric      = "Errors"
      dimensions  = { FunctionName = name }
    }
  }

  throttle_alarms = {
    for function, name in local.function_names : "${name}-throttles" => {
      description = "Function ${function} was throttled: raise the account's concurrency."
      namespace   = "AWS/Lambda"
      metric      = "Throttles"
      dimensions  = { FunctionName = name }
    }
  }

  # The models that jobs can run on. Bedrock's metrics have no other dimension.
  watched_models = toset(local.offered_models)

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
      metrics = [for metric in ["SyncMerged", "SyncFailed", "SyncWaiting"] : [var.deployment.metrics_namespace, metric, "target", "bedrock_sync"]]
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
      metrics = [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", local.undelivered_name]]
    },
  ]
}

# Records wait and no token has been processed for half an hour
# (https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring.html).
resource "aws_cloudwatch_metric_alarm" "stuck" {
  for_each = local.watched_models

  alarm_name          = "ventureos-bedrock-stuck-${replace(each.key, "/[^A-Za-z0-9-]/", "-")}${var.deployment.suffix}"
  alarm_description   = "Batch inference on ${each.key} is stuck: records wait, and none was processed for half an hour."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 6
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.notification_topic_arn]

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
