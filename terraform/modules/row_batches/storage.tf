# Rows of batches with storage_mode dynamodb, one item each. Nothing writes to it until that mode is available: name, keys
# and output are here already since scripts rely on them.

resource "aws_dynamodb_table" "results" {
  name                        = "batch_processor_results${var.deployment.suffix}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "batch_id"
  range_key                   = "row_id"
  deletion_protection_enabled = var.deployment.protected

  attribute {
    name = "batch_id"
    type = "S"
  }

  attribute {
    name = "row_id"
    type = "S"
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
