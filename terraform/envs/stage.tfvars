environment        = "stage"
artifact_manifest  = "../build/artifacts/stage/manifest.json"
log_retention_days = 30

# The account of this environment. TF_VAR_allowed_account_ids can set it, too.
# allowed_account_ids = ["123456789012"]
