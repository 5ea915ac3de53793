# Our shared package and its libraries. Versions that are replaced stay usable by the function versions that name them.

resource "aws_lambda_layer_version" "this" {
  for_each = toset(["core", "dependencies"])

  layer_name               = "batch-processor-${each.key}${var.suffix}"
  description              = each.key == "core" ? "Package batch_processor" : "Libraries of package batch_processor"
  s3_bucket                = var.artifacts["layers/${each.key}"].bucket
  s3_key                   = var.artifacts["layers/${each.key}"].key
  source_code_hash         = var.artifacts["layers/${each.key}"].sha256
  compatible_runtimes      = [var.runtime]
  compatible_architectures = [var.architecture]
}
