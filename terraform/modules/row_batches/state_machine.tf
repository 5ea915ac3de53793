locals {
  state_machine_name = "batch-processor${var.deployment.suffix}"

  # Built from the name, because the machine's role and events need its ARN, and the machine needs its role.
  states_arn        = "arn:${var.deployment.partition}:states:${var.deployment.region}:${var.deployment.account_id}"
  state_machine_arn = "${local.states_arn}:stateMachine:${local.state_machine_name}"

  executions_arn = "${local.states_arn}:execution:${local.state_machine_name}:*"
  map_runs_arn   = "${local.states_arn}:mapRun:${local.state_machine_name}/*"

  asl = "${path.module}/../../../asl"

  # A string in the definition that is only the name of a part is replaced by that part: a list, an object or an expression
  # that several states share. All files are valid JSON.
  parts  = { for name, part in jsondecode(file("${local.asl}/parts.json")) : "\"$${${name}}\"" => jsonencode(part) }
  pieces = "\"\\$\\{\\w+\\}\"|[^\"]+|\""

  # The states of an agent's child are in the definition twice, once for each kind of map. Each state's name is used once.
  agent_rows = join("", [for piece in regexall(local.pieces, file("${local.asl}/agent_rows.json")) : lookup(local.parts, piece, piece)])
  shared = merge(local.parts, {
    "\"$${agent_rows}\""        = replace(local.agent_rows, "$${suffix}", "")
    "\"$${agent_rows_inline}\"" = replace(local.agent_rows, "$${suffix}", "Inline")
  })

  composed = {
    for name in ["batch_processor", "batch_processor_finish"] : name => join("", [
      for piece in regexall(local.pieces, file("${local.asl}/${name}.asl.json")) : lookup(local.shared, piece, piece)
    ])
  }

  definition = templatestring(local.composed.batch_processor, {
    validate_input_arn    = module.function["validate_input"].qualified_arn
    process_tool_rows_arn = module.function["process_tool_rows"].qualified_arn
    map_input_arn         = module.function["map_input"].qualified_arn
    map_output_arn        = module.function["map_output"].qualified_arn
    aggregate_results_arn = module.function["aggregate_results"].qualified_arn
    results_bucket        = var.results_bucket
    partition             = var.deployment.partition
  })
}

module "state_machine" {
  source = "../state_machine"

  name               = local.state_machine_name
  log_group_name     = "/aws/stepfunctions/${local.state_machine_name}"
  account_id         = var.deployment.account_id
  definition         = local.definition
  statements         = local.state_machine_statements
  policy_arns        = var.standard_policy_arns
  kms_key_arn        = var.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  xray_tracing       = var.deployment.xray_tracing
}
