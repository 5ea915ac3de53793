# Queues and the topic.

locals {
  # Terraform waits half a minute for a new queue. Whatever only names a queue has the name from here and does not wait with it.
  dead_letters_name       = "batch-processor-dead-letters${var.deployment.suffix}"
  undelivered_events_name = "batch-processor-undelivered-events${var.deployment.suffix}"
  queues_arn              = "arn:${var.deployment.partition}:sqs:${var.deployment.region}:${var.deployment.account_id}"
}

resource "aws_sqs_queue" "dead_letters" {
  name                              = local.dead_letters_name
  message_retention_seconds         = var.dead_letter_days * 86400
  kms_master_key_id                 = var.queue_key_arn
  kms_data_key_reuse_period_seconds = 300
}

# Events for finish_run that could not be delivered, or that it failed on. Separate from the queue of failed rows, which belongs to users.
resource "aws_sqs_queue" "undelivered_events" {
  name                              = local.undelivered_events_name
  message_retention_seconds         = 1209600 # 14 days, the longest there is
  kms_master_key_id                 = var.queue_key_arn
  kms_data_key_reuse_period_seconds = 300

  # Inline instead of a separate resource, because Terraform waits half a minute for each change of a queue's settings.
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "EventBridge"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "${local.queues_arn}:${local.undelivered_events_name}"
      Condition = { ArnEquals = { "aws:SourceArn" = [for name in local.finish_rule_names : "${local.rules_arn}/${name}"] } }
    }]
  })
}

resource "aws_sns_topic" "notifications" {
  name              = "batch-processor-notifications${var.deployment.suffix}"
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_policy" "notifications" {
  arn = aws_sns_topic.notifications.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.notifications.arn
        Condition = { StringEquals = { "aws:SourceAccount" = var.deployment.account_id } }
      },
      {
        Sid       = "AccountByItsOwnPolicies"
        Effect    = "Allow"
        Principal = { AWS = "arn:${var.deployment.partition}:iam::${var.deployment.account_id}:root" }
        Action    = ["sns:Publish", "sns:Subscribe", "sns:GetTopicAttributes", "sns:SetTopicAttributes", "sns:ListSubscriptionsByTopic"]
        Resource  = aws_sns_topic.notifications.arn
      },
    ]
  })
}
