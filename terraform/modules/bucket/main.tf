# A private, versioned bucket: encrypted with our key, reached over TLS only.

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:Who reads and writes is in CloudTrail's data events, which an account turns on for itself; access logs would be a third copy.
  # checkov:skip=CKV_AWS_144:S3 keeps objects in three Availability Zones, and no role of ours may delete a version: what is overwritten or deleted can be restored, below a prefix that expires for a day. What reads them is in this Region too.
  # checkov:skip=CKV2_AWS_62:Who waits for objects adds a notification beside the bucket (module bedrock_batches does); row batches start by StartExecution.
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

  # A policy and the public access block cannot be set at the same moment.
  depends_on = [aws_s3_bucket_public_access_block.this]
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  # checkov:skip=CKV_AWS_300:Rule abort-uploads does it for every object; the check is lost beside a dynamic rule.
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "abort-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      # Longer than work is kept: an aggregation that is redriven goes on with its uploads.
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

      # An expired object only becomes noncurrent in a versioned bucket: this is what frees the space.
      noncurrent_version_expiration {
        noncurrent_days = 1
      }
    }
  }

  # Rules on noncurrent versions need versioning.
  depends_on = [aws_s3_bucket_versioning.this]
}
