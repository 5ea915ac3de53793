environment        = "local"
artifact_manifest  = "../build/artifacts/local/manifest.json"
s3_use_path_style  = true
sample_targets     = true
short_lived        = true
log_retention_days = 7
# Content reaches the lake within seconds.
sync_window_seconds = 1
