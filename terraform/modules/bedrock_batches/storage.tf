# Tables and the bucket of jobs, content and files.

module "data_bucket" {
  source = "../bucket"

  name          = var.data_bucket_name
  kms_key_arn   = var.kms_key_arn
  force_destroy = !var.deployment.protected
  expiry        = !var.deployment.short_lived

  # Bedrock, a retry, the list of records and `make reparse` read these files. They last as long as any job's item:
  # 70 days to run (500,000 records are 10 parts, each waits for the one before at a quota of one job, and a part times
  # out after at most 7 days), 30 days after the job has settled, and 80 days for content that waits for the lake. Content
  # that waits longer is safe: it is in VentureOS-Violations, and no job asks its records again. Outputs stay: they are
  # what was paid for.
  expire_after_days = {
    "${local.prefix}/input/"     = 180
    "${local.prefix}/errors/"    = 180
    "${local.prefix}/on-demand/" = 180
  }
}

resource "aws_dynamodb_table" "jobs" {
  name                        = local.jobs_table
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "PK"
  range_key                   = "SK"
  deletion_protection_enabled = var.deployment.protected

  dynamic "attribute" {
    for_each = toset(["PK", "SK", "GSI1PK", "GSI1SK", "GSI2PK"])

    content {
      name = attribute.value
      type = "S"
    }
  }

  global_secondary_index {
    name            = "jobs-by-created"
    hash_key        = "GSI1PK"
    range_key       = "GSI1SK"
    projection_type = "ALL"
  }

  global_secondary_index {
    name            = "jobs-by-status"
    hash_key        = "GSI2PK"
    range_key       = "GSI1SK"
    projection_type = "ALL"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

resource "aws_dynamodb_table" "violations" {
  name                        = local.violations_table
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "PK"
  range_key                   = "SK"
  deletion_protection_enabled = var.deployment.protected
  stream_enabled              = true
  stream_view_type            = "NEW_IMAGE"

  dynamic "attribute" {
    for_each = toset(["PK", "SK"])

    content {
      name = attribute.value
      type = "S"
    }
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

# Events that a function failed on, or that could not be delivered.
resource "aws_sqs_queue" "undelivered" {
  name                              = local.undelivered_name
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
      Resource  = local.undelivered_arn
      Condition = { ArnEquals = { "aws:SourceArn" = [for name in local.job_rule_names : "${local.rules_arn}/${name}"] } }
    }]
  })
}
