# Resources that all capabilities share: the key, the buckets, the layers, the registry. Each capability is a separate module.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  suffix     = var.environment == "prod" ? "" : "-${var.environment}"
  manifest   = jsondecode(file(var.artifact_manifest))
  contract   = jsondecode(file("${dirname(var.artifact_manifest)}/contract.json"))
  protected  = var.environment == "prod"
  config     = coalesce(var.config_file, "${path.root}/../batch-processor-config.yaml")
  targets    = merge(module.own_targets.targets, var.targets, one(module.sample_targets[*].targets), local.sample_aliases)

  # Buckets that output_buckets must not name. Their names are known before they are created.
  results_bucket_name = coalesce(var.results_bucket_name, "batch-processor-results-${local.account_id}-${var.region}${local.suffix}")
  data_bucket_name    = coalesce(var.data_bucket_name, "ventureos-data-${local.account_id}-${var.region}${local.suffix}")

  # Agents with a schema in schemas/, which bear its name: one machine answers for both. And a disabled target, to show what happens
  # if a batch names one.
  sample_aliases = var.sample_targets ? merge(
    { for name in ["broadband-agent-rust", "web-search-agent"] : name => module.sample_targets[0].targets["browsing_agent"] },
    { retired = merge(module.sample_targets[0].targets["echo"], { enabled = false }) },
  ) : {}

  # Schemas of agents' outputs, with the hash that the lock file has for their version. `make plan` checks the files before.
  schemas = {
    for file in fileset("${path.root}/../schemas", "*.yaml") : trimsuffix(file, ".yaml") => {
      agent         = yamldecode(file("${path.root}/../schemas/${file}")).agent
      version       = tostring(yamldecode(file("${path.root}/../schemas/${file}")).version)
      document      = jsonencode(yamldecode(file("${path.root}/../schemas/${file}")))
      locked_sha256 = try(local.schema_lock[trimsuffix(file, ".yaml")][tostring(yamldecode(file("${path.root}/../schemas/${file}")).version)], null)
    }
  }
  schema_lock = try(jsondecode(file("${path.root}/../schemas/schemas.lock.json")), {})

  # A module's variable `deployment` lists the values that it uses. All are known before anything is created; otherwise
  # every resource with the suffix in its name would wait for the slowest one.
  deployment = {
    suffix       = local.suffix
    partition    = local.partition
    account_id   = local.account_id
    region       = var.region
    runtime      = local.manifest.runtime
    architecture = local.manifest.architecture
    protected    = local.protected
    short_lived  = var.short_lived
    # Environments that share an account must not share metrics, and the target is the only dimension.
    metrics_namespace  = "BatchProcessor${local.suffix}"
    log_retention_days = var.log_retention_days
    log_level          = var.log_level
    xray_tracing       = var.xray_tracing
  }
}

module "key" {
  source = "./modules/key"

  name       = "batch-processor${local.suffix}"
  deployment = local.deployment
}

module "input_bucket" {
  source = "./modules/bucket"

  name          = coalesce(var.input_bucket_name, "batch-processor-input-${local.account_id}-${var.region}${local.suffix}")
  kms_key_arn   = module.key.arn
  force_destroy = !local.protected
  expiry        = !var.short_lived
}

module "results_bucket" {
  source = "./modules/bucket"

  name          = local.results_bucket_name
  kms_key_arn   = module.key.arn
  force_destroy = !local.protected
  expiry        = !var.short_lived
  expire_after_days = {
    "work/" = var.work_retention_days
    # A message that names such an object is sent at once, or for as long as the run can be aggregated: while work/ is kept.
    "dead-letters/" = var.work_retention_days + var.dead_letter_retention_days
  }
}

module "artifacts" {
  source = "./modules/artifacts"

  bucket      = module.results_bucket.name
  kms_key_arn = module.key.arn
  artifacts   = local.manifest.artifacts
}

module "layers" {
  source = "./modules/layers"

  deployment      = local.deployment
  artifacts       = module.artifacts.objects
  bedrock_batches = var.bedrock_batches
}

module "registry" {
  source = "./modules/registry"

  name        = "batch-processor-registry${local.suffix}"
  policy_name = "batch-processor-invoke${local.suffix}"
  kms_key_arn = module.key.arn
  protected   = local.protected
  targets     = local.targets
  schemas     = local.schemas
}

module "row_batches" {
  source = "./modules/row_batches"

  deployment       = local.deployment
  artifacts        = module.artifacts.objects
  layer_arns       = module.layers.arns
  duckdb_layer_arn = module.layers.duckdb_arn

  kms_key_arn             = module.key.arn
  queue_key_arn           = module.key.queue_arn
  input_buckets           = concat([module.input_bucket.name], var.input_buckets)
  input_kms_key_arns      = var.input_kms_key_arns
  output_buckets          = var.output_buckets
  output_kms_key_arns     = var.output_kms_key_arns
  results_bucket          = module.results_bucket.name
  registry_table          = module.registry.table_name
  registry_table_arn      = module.registry.table_arn
  inspect_policy_arns     = module.registry.inspect_policy_arns
  synchronous_policy_arns = module.registry.synchronous_policy_arns
  standard_policy_arns    = module.registry.standard_policy_arns
  work_retention_days     = var.work_retention_days
  config_yaml             = fileexists(local.config) ? file(local.config) : ""
  dead_letter_days        = var.dead_letter_retention_days
  daily_cost_alarm_usd    = var.daily_cost_alarm_usd
}

module "lake" {
  source = "./modules/lake"
  count  = var.bedrock_batches ? 1 : 0

  name        = coalesce(var.lake_name, "ventureos-lake-${local.account_id}-${var.region}${local.suffix}")
  namespace   = "silver"
  kms_key_arn = module.key.arn
}

module "bedrock_batches" {
  source = "./modules/bedrock_batches"
  count  = var.bedrock_batches ? 1 : 0

  deployment       = local.deployment
  artifacts        = module.artifacts.objects
  layer_arns       = module.layers.arns
  duckdb_layer_arn = module.layers.duckdb_arn
  sdk_layer_arn    = module.layers.sdk_arn

  kms_key_arn            = module.key.arn
  queue_key_arn          = module.key.queue_arn
  table_bucket_arn       = module.lake[0].table_bucket_arn
  namespace              = module.lake[0].namespace
  agencies               = var.agencies
  data_bucket_name       = local.data_bucket_name
  notification_topic_arn = module.row_batches.notification_topic_arn
  models                 = var.bedrock_models
  default_model          = var.bedrock_default_model
  quotas                 = var.bedrock_quotas
  sync_window_seconds    = var.sync_window_seconds
  routes                 = local.contract.routes
  jwt_issuer             = var.jwt_issuer
  jwt_audience           = var.jwt_audience
}

# The team's own targets.
module "own_targets" {
  source = "./modules/targets"

  folder             = coalesce(var.targets_folder, "${path.root}/../targets")
  artifact_folder    = "targets"
  name               = "batch-processor-target"
  suffix             = local.suffix
  account_id         = local.account_id
  runtime            = local.manifest.runtime
  architecture       = local.manifest.architecture
  artifacts          = module.artifacts.objects
  kms_key_arn        = module.key.arn
  log_retention_days = var.log_retention_days
}

module "sample_targets" {
  source = "./modules/targets"
  count  = var.sample_targets ? 1 : 0

  folder             = "${path.root}/../examples/targets"
  artifact_folder    = "sample_targets"
  name               = "batch-processor-sample"
  suffix             = local.suffix
  account_id         = local.account_id
  runtime            = local.manifest.runtime
  architecture       = local.manifest.architecture
  artifacts          = module.artifacts.objects
  kms_key_arn        = module.key.arn
  log_retention_days = var.log_retention_days
}

module "parent_state_machine" {
  source = "../examples/callers/parent_state_machine"
  count  = var.sample_targets ? 1 : 0

  name                              = "batch-processor-sample-parent${local.suffix}"
  batch_processor_state_machine_arn = module.row_batches.state_machine_arn
  caller_policy_json                = module.row_batches.caller_policy_json
}

module "schedule" {
  source = "../examples/callers/schedule"
  count  = var.sample_targets ? 1 : 0

  name                              = "batch-processor-sample-schedule${local.suffix}"
  batch_processor_state_machine_arn = module.row_batches.state_machine_arn
  input                             = { csv_s3_uri = "s3://${module.input_bucket.name}/nightly.csv", target = { type = "tool", name = "echo" } }
  # Deployed as an example. `enabled = true` lets it start batches.
  enabled = false
}
