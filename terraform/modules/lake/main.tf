# The lake: an S3 Tables bucket with one namespace, and the layer that reads and writes it.
#
# Its tables are made by `make seed-lake`: provider 5.100 gives a table no schema.

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

resource "aws_lambda_layer_version" "duckdb" {
  layer_name               = "ventureos-duckdb${var.suffix}"
  description              = "DuckDB with the extensions that S3 Tables needs"
  s3_bucket                = var.artifacts["layers/duckdb"].bucket
  s3_key                   = var.artifacts["layers/duckdb"].key
  source_code_hash         = var.artifacts["layers/duckdb"].sha256
  compatible_runtimes      = [var.runtime]
  compatible_architectures = [var.architecture]
}
