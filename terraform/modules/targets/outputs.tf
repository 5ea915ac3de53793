output "permissions" {
  description = "Permissions of the role of each target, in addition to its log."
  value       = local.statements
}

output "targets" {
  description = "The targets, in the form of variable targets."
  value = { for name, settings in local.settings : name => {
    type              = contains(local.tools, name) ? "tool" : "agent"
    arn               = contains(local.tools, name) ? module.tool[name].arn : module.agent[name].arn
    invocation        = contains(local.tools, name) ? "lambda" : try(settings.kind, "agent") == "express_agent" ? "express" : "standard"
    enabled           = try(settings.enabled, true)
    version           = try(settings.version, "1")
    output_schema     = try(settings.output_schema, null)
    cost_per_call_usd = try(settings.cost_per_call_usd, null)
    expected_seconds  = try(settings.expected_seconds, null)
    max_concurrency   = try(settings.max_concurrency, null)
    rate              = try(settings.rate, null) == null ? null : { rows_per_minute = try(settings.rate.rows_per_minute, null), tokens_per_minute = try(settings.rate.tokens_per_minute, null) }
    prices            = try(settings.prices, null)
    input             = { for field, declared in try(settings.input, {}) : field => { description = try(declared.description, ""), required = try(declared.required, true) } }
    output            = [for column in try(settings.output, []) : { name = column.name, source = try(column.source, null), type = try(column.type, "string") }]
  } }
}
