# One key per environment. Whoever can use it can read the data of this environment, and nothing else.

resource "aws_kms_key" "this" {
  # checkov:skip=CKV_AWS_7:The key rotates, except in a deployment that is thrown away soon (short_lived). A test of prod holds it.
  description             = "Everything that ${var.name} stores"
  enable_key_rotation     = !var.deployment.short_lived
  deletion_window_in_days = 30
}

# Separate from the key, because Terraform waits five seconds for it, and half a minute for each queue after the key.
resource "aws_kms_key_policy" "this" {
  key_id = aws_kms_key.this.key_id
  policy = jsonencode(local.policy)
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

locals {
  # In a key policy "*" means the key that has the policy (https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-overview.html).
  this_key = "*"

  policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountByItsOwnPolicies"
        Effect    = "Allow"
        Principal = { AWS = "arn:${var.deployment.partition}:iam::${var.deployment.account_id}:root" }
        Action    = "kms:*"
        Resource  = local.this_key
      },
      {
        Sid       = "LogGroups"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.deployment.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = local.this_key
        Condition = {
          ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${var.deployment.partition}:logs:${var.deployment.region}:${var.deployment.account_id}:log-group:*" }
        }
      },
      {
        # Events that cannot be delivered go into a queue. No condition: EventBridge's requests carry no source account
        # (https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html, "not supported for
        # EventBridge-to-encrypted topics"); the queue's policy names the rules.
        Sid       = "UndeliveredEvents"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = local.this_key
      },
      {
        Sid       = "AlarmsToTheEncryptedTopic"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = local.this_key
        Condition = { StringEquals = { "aws:SourceAccount" = var.deployment.account_id } }
      },
      {
        # Compaction and clean-up of the lake's tables
        # (https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-tables-kms-permissions.html).
        Sid       = "TableMaintenance"
        Effect    = "Allow"
        Principal = { Service = "maintenance.s3tables.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = local.this_key
        Condition = { StringLike = { "kms:EncryptionContext:aws:s3:arn" = "arn:${var.deployment.partition}:s3tables:${var.deployment.region}:${var.deployment.account_id}:bucket/*" } }
      },
    ]
  }
}
