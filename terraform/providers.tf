provider "aws" {
  region              = var.region
  allowed_account_ids = var.allowed_account_ids
  s3_use_path_style   = var.s3_use_path_style

  # A short-lived deployment has no tags, because Terraform waits until the key has its tags.
  dynamic "default_tags" {
    for_each = var.short_lived ? [] : [{ project = "batch-processor", environment = var.environment }]

    content {
      tags = default_tags.value
    }
  }
}
