# Buckets: versioned, private, and work/ does not stay.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name          = "bucket"
  kms_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  force_destroy = false
}

run "objects_below_the_prefix_expire_with_their_versions" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  variables {
    expire_after_days = { "work/" = 7, "work/input/" = 3 }
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this[0].rule) == 3
    error_message = "One rule for uploads, one for each prefix."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.expiration[0].days if rule.id == "expire-work"]) == 7
    error_message = "Objects expire after 7 days."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.filter[0].prefix if rule.id == "expire-work-input"]) == "work/input/"
    error_message = "A rule is named after its prefix."
  }

  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.noncurrent_version_expiration[0].noncurrent_days if rule.id == "expire-work"]) == 1
    error_message = "Versions that are no longer current go too."
  }
}

run "without_a_prefix_nothing_expires" {
  command = plan

  module {
    source = "./modules/bucket"
  }

  assert {
    condition     = length(flatten([for rule in aws_s3_bucket_lifecycle_configuration.this[0].rule : rule.expiration])) == 0
    error_message = "Only unfinished uploads go."
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "The bucket is versioned."
  }
}
