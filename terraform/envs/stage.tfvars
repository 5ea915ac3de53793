environment        = "stage"
artifact_manifest  = "../build/artifacts/stage/manifest.json"
log_retention_days = 30

# The account that this environment is; it can also come from TF_VAR_allowed_account_ids.
# allowed_account_ids = ["123456789012"]
