# The targets of a folder, one folder each. One with a handler.py is a tool, one with an agent.asl.json an agent; its target.yaml,
# which can be missing, has its settings (docs/reference/target-file.md).

locals {
  tools    = toset([for file in fileset(var.folder, "*/handler.py") : dirname(file)])
  agents   = toset([for file in fileset(var.folder, "*/agent.asl.json") : dirname(file)])
  names    = setunion(local.tools, local.agents)
  settings = { for name in local.names : name => yamldecode(fileexists("${var.folder}/${name}/target.yaml") ? file("${var.folder}/${name}/target.yaml") : "{}") }

  # What the target's role may do, in addition to its log: what the file grants, and its secrets.
  statements = { for name, settings in local.settings : name => concat(
    [for index, permission in try(settings.permissions, []) : {
      Sid      = "Granted${index}"
      Effect   = "Allow"
      Action   = permission.actions
      Resource = permission.resources
    }],
    length(try(settings.secrets, {})) == 0 ? [] : [{
      Sid      = "Secrets"
      Effect   = "Allow"
      Action   = ["secretsmanager:GetSecretValue"]
      Resource = values(settings.secrets)
    }],
  ) }
}

module "tool" {
  source   = "../function"
  for_each = local.tools

  name            = "${var.name}-${replace(each.key, "_", "-")}${var.suffix}"
  description     = "Target ${each.key} of batches"
  runtime         = var.runtime
  architecture    = var.architecture
  artifact        = var.artifacts["${var.artifact_folder}/${each.key}"]
  memory_mb       = try(local.settings[each.key].memory_mb, 256)
  timeout_seconds = try(local.settings[each.key].timeout_seconds, 60)
  # The environment has the ARN of a secret, because its value would be visible in the function's configuration.
  environment        = merge(try(local.settings[each.key].environment, {}), try(local.settings[each.key].secrets, {}))
  statements         = local.statements[each.key]
  vpc                = try(local.settings[each.key].vpc, null)
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.log_retention_days
}

module "agent" {
  source   = "../state_machine"
  for_each = local.agents

  name               = "${var.name}-${replace(each.key, "_", "-")}${var.suffix}"
  account_id         = var.account_id
  type               = try(local.settings[each.key].kind, "agent") == "express_agent" ? "EXPRESS" : "STANDARD"
  definition         = file("${var.folder}/${each.key}/agent.asl.json")
  statements         = local.statements[each.key]
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.log_retention_days
}
