# The artefacts in S3, from where Lambda reads them. With direct uploads, functions would be created one after the other.

resource "aws_s3_object" "this" {
  for_each = var.artifacts

  bucket = var.bucket
  # The key contains the hash, so that changed content is another object and the function is updated.
  key         = "artifacts/${each.key}/${replace(each.value.sha256, "/[^A-Za-z0-9]/", "")}.zip"
  source      = "${path.root}/../${each.value.path}"
  source_hash = each.value.sha256
  kms_key_id  = var.kms_key_arn
}
