output "arn" {
  description = "ARN of the key, once it has its policy."
  value       = aws_kms_key.this.arn
  depends_on  = [aws_kms_key_policy.this]
}

output "queue_arn" {
  description = "ARN of the key for queues, which use it only when a message comes: it may not have its policy yet."
  value       = aws_kms_key.this.arn
}

output "rotates" {
  description = "Whether KMS rotates the key."
  value       = aws_kms_key.this.enable_key_rotation
}
