output "name" {
  description = "Name of the bucket."
  value       = aws_s3_bucket.this.id
}

output "arn" {
  description = "ARN of the bucket."
  value       = aws_s3_bucket.this.arn
}

output "force_destroy" {
  description = "Whether destroying the bucket deletes its objects."
  value       = aws_s3_bucket.this.force_destroy
}
