# Layers of the functions: our package, its libraries, DuckDB, the SDK. Function versions can still use the layer versions that they name after those are replaced.

locals {
  layers = {
    core         = { name = "batch-processor-core", description = "Packages foundation, row_batches and bedrock_batches" }
    dependencies = { name = "batch-processor-dependencies", description = "Libraries of the core layer" }
    duckdb       = { name = "ventureos-duckdb", description = "DuckDB, which reads and writes Parquet, with the extensions that S3 Tables needs" }
    sdk          = { name = "ventureos-sdk", description = "An AWS SDK that knows all of Bedrock's batch inference" }
  }
}

resource "aws_lambda_layer_version" "this" {
  for_each = { for key, layer in local.layers : key => layer if key != "sdk" || var.bedrock_batches }

  layer_name               = "${each.value.name}${var.deployment.suffix}"
  description              = each.value.description
  s3_bucket                = var.artifacts["layers/${each.key}"].bucket
  s3_key                   = var.artifacts["layers/${each.key}"].key
  source_code_hash         = var.artifacts["layers/${each.key}"].sha256
  compatible_runtimes      = [var.deployment.runtime]
  compatible_architectures = [var.deployment.architecture]
}
