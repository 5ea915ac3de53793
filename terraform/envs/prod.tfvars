environment       = "prod"
artifact_manifest = "../build/artifacts/prod/manifest.json"

# The account that this environment is; it can also come from TF_VAR_allowed_account_ids.
# allowed_account_ids = ["123456789012"]
