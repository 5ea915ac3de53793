environment       = "prod"
artifact_manifest = "../build/artifacts/prod/manifest.json"

# The account of this environment. TF_VAR_allowed_account_ids can set it, too.
# allowed_account_ids = ["123456789012"]
