# The lake: an S3 Tables bucket with one namespace.
#
# `make seed-lake` creates its tables, because provider 5.100 cannot give a table a schema.

resource "aws_s3tables_table_bucket" "this" {
  name = var.name

  encryption_configuration = {
    sse_algorithm = "aws:kms"
    kms_key_arn   = var.kms_key_arn
  }
}

resource "aws_s3tables_namespace" "this" {
  namespace        = var.namespace
  table_bucket_arn = aws_s3tables_table_bucket.this.arn
}
