# A private, versioned bucket, encrypted with our key and accessible over TLS only.

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:CloudTrail's data events record reads and writes, if the account turns them on; access logs would duplicate them.
  # checkov:skip=CKV_AWS_144:S3 keeps objects in three Availability Zones, and no role of ours can delete a version, so overwritten or deleted objects can be restored; under a prefix that expires, for a day. Their readers are in this region too.
  # checkov:skip=CKV2_AWS_62:A module that waits for objects adds a notification to the bucket (module bedrock_batches does). Row batches start by StartExecution.
  bucket        = var.name
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.this.arn, "${aws_s3_bucket.this.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  # S3 refuses concurrent changes of the policy and the public access block.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  count = var.expiry ? 1 : 0

  # checkov:skip=CKV_AWS_300:Rule abort-uploads does this for every object; the check does not see it because of the dynamic rule.
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "abort-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      # Longer than work/ is kept, because a redriven aggregation continues its uploads.
      days_after_initiation = max(7, values(var.expire_after_days)...) + 1
    }
  }

  dynamic "rule" {
    for_each = var.expire_after_days

    content {
      id     = "expire-${replace(trimsuffix(rule.key, "/"), "/", "-")}"
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      expiration {
        days = rule.value
      }

      # In a versioned bucket, an expired object only becomes noncurrent. This rule frees the space.
      noncurrent_version_expiration {
        noncurrent_days = 1
      }
    }
  }

  # Rules on noncurrent versions need versioning.
  depends_on = [aws_s3_bucket_versioning.this]
}
