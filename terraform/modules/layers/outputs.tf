output "arns" {
  description = "ARNs of the layer versions that every function gets."
  value       = [for key in ["core", "dependencies"] : aws_lambda_layer_version.this[key].arn]
}

output "duckdb_arn" {
  description = "ARN of the layer version for the functions that read Parquet files, or read or write the lake."
  value       = aws_lambda_layer_version.this["duckdb"].arn
}

output "sdk_arn" {
  description = "ARN of the layer version for the functions that submit Bedrock jobs; null without it."
  value       = one([for key, layer in aws_lambda_layer_version.this : layer.arn if key == "sdk"])
}
