output "table_bucket_arn" {
  description = "ARN of the table bucket."
  value       = aws_s3tables_table_bucket.this.arn
}

output "namespace" {
  description = "Namespace of the agencies' tables."
  value       = aws_s3tables_namespace.this.namespace
}
