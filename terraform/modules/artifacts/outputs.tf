output "objects" {
  description = "Location of each artefact, and its SHA-256 in base64."
  value = {
    for name, object in aws_s3_object.this : name => { bucket = object.bucket, key = object.key, sha256 = object.source_hash }
  }
}
