output "name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "expire_after_days" {
  description = "Days until objects expire, by prefix."
  value       = { for rule in flatten(aws_s3_bucket_lifecycle_configuration.this[*].rule) : rule.filter[0].prefix => rule.expiration[0].days if length(rule.expiration) > 0 }
}

output "force_destroy" {
  description = "Whether destroying the bucket deletes its objects."
  value       = aws_s3_bucket.this.force_destroy
}
