# The targets of examples/targets. A folder with a handler.py is a tool; one with an agent.asl.json is an agent.

locals {
  examples = "${path.module}/../../../examples/targets"

  tools  = { for name, artifact in var.artifacts : trimprefix(name, "targets/") => artifact if startswith(name, "targets/") }
  agents = toset([for file in fileset(local.examples, "*/agent.asl.json") : dirname(file)])
  # Rows in flight over all runs.
  limits         = { limited = 5, limited_agent = 5 }
  express_agents = toset([for name in local.agents : name if endswith(name, "_express_agent")])
}

module "tool" {
  source   = "../function"
  for_each = local.tools

  name         = "batch-processor-sample-${replace(each.key, "_", "-")}${var.suffix}"
  description  = "Sample tool ${each.key}"
  runtime      = var.runtime
  architecture = var.architecture
  artifact     = each.value
  # Enough for an answer of 7 MB, as text and as bytes.
  memory_mb = 256
  # Longer than any time-out in the examples, so that the batch gives up first.
  timeout_seconds    = 60
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.log_retention_days
}

module "agent" {
  source   = "../state_machine"
  for_each = local.agents

  name               = "batch-processor-sample-${replace(each.key, "_", "-")}${var.suffix}"
  account_id         = var.account_id
  type               = contains(local.express_agents, each.key) ? "EXPRESS" : "STANDARD"
  definition         = file("${local.examples}/${each.key}/agent.asl.json")
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.log_retention_days
}
