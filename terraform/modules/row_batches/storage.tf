# Rows of batches with storage_mode dynamodb, one item each, and a small item for each run of rows that was written. A row that
# is not SUCCESS is in the index as well, which holds keys alone.
resource "aws_dynamodb_table" "results" {
  name                        = "batch_processor_results${var.deployment.suffix}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "batch_id"
  range_key                   = "row_id"
  deletion_protection_enabled = var.deployment.protected

  dynamic "attribute" {
    for_each = toset(["batch_id", "row_id", "failed_batch_id"])

    content {
      name = attribute.value
      type = "S"
    }
  }

  global_secondary_index {
    name            = "failed-rows"
    hash_key        = "failed_batch_id"
    range_key       = "row_id"
    projection_type = "KEYS_ONLY"
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

# Answers of batches with cache_days or deduplicate, for later batches: one item for each version of a target and input.
resource "aws_dynamodb_table" "answers" {
  # checkov:skip=CKV_AWS_28:An answer that is lost is called for again.
  name         = "batch_processor_answers${var.deployment.suffix}"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "answer_id"

  attribute {
    name = "answer_id"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.kms_key_arn
  }
}

# One item a run, its live counts, and the leases of its batches. Both indexes hold keys alone, so that counting rows writes
# to no index.
resource "aws_dynamodb_table" "runs" {
  name                        = "batch_processor_runs${var.deployment.suffix}"
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
    name            = "runs-by-start"
    hash_key        = "GSI1PK"
    range_key       = "GSI1SK"
    projection_type = "KEYS_ONLY"
  }

  # Runs without an ending: the others have no GSI2PK.
  global_secondary_index {
    name            = "running-by-start"
    hash_key        = "GSI2PK"
    range_key       = "GSI1SK"
    projection_type = "KEYS_ONLY"
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

# The deployment's configuration. validate_input reads it for each batch and pins it in the plan, so a change disturbs no
# running batch. `make plan` checks the file as `make config-check` does.
resource "aws_s3_object" "config" {
  bucket = var.results_bucket
  key    = "deployment/batch-processor-config.json"
  # yamldecode refuses a text without a document, which a file of comments is.
  content      = length(regexall("(?m)^\\s*[^#\\s]", var.config_yaml)) == 0 ? "null" : jsonencode(yamldecode(var.config_yaml))
  content_type = "application/json"
  kms_key_id   = var.kms_key_arn
}
