output "arn" {
  description = "ARN of the key."
  value       = aws_kms_key.this.arn
}

output "rotates" {
  description = "Whether KMS rotates the key."
  value       = aws_kms_key.this.enable_key_rotation
}
