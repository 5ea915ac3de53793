output "arns" {
  description = "ARNs of the layer versions that every function gets."
  value       = [for layer in aws_lambda_layer_version.this : layer.arn]
}
