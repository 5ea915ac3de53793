# The models that jobs can run on: those of models.json that fit the region, with the deployment's additions and changes.

locals {
  # Python reads the same file.
  model_table = jsondecode(file("${path.module}/../../../layers/core/python/foundation/models.json")).models

  # The values of variable `models`, completed from the table.
  model_changes = { for id, model in var.models : id => { for field, value in model : field => value if value != null } }

  models = {
    for id in setunion(keys(local.model_table), keys(local.model_changes)) : id => merge(
      { batch = true, batch_regions = null, end_of_life = null },
      lookup(local.model_table, id, {}),
      lookup(local.model_changes, id, {}),
    )
  }

  # The regions that an inference profile can be called from. For a model without a prefix, batch_regions has them
  # (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html).
  profile_regions = {
    us     = "^(us-(east|west)|ca)-"
    us-gov = "^us-gov-"
    eu     = "^(eu|il)-"
    apac   = "^ap-"
    au     = "^ap-southeast-"
    jp     = "^ap-northeast-"
    ca     = "^ca-"
    in     = "^ap-south-"
    global = "^(af|ap|ca|eu|il|me|mx|sa|us-(east|west))-"
  }
  profile_prefix = {
    for id in keys(local.models) : id => one(flatten(regexall("^(${join("|", keys(local.profile_regions))})\\.", id)))
  }

  in_region = {
    for id, model in local.models : id => (
      model.batch_regions != null ? contains(model.batch_regions, var.deployment.region) :
      local.profile_prefix[id] == null ? true : can(regex(local.profile_regions[local.profile_prefix[id]], var.deployment.region))
    )
  }
  ended = {
    for id, model in local.models : id => model.end_of_life == null ? false : timecmp("${model.end_of_life}T00:00:00Z", plantimestamp()) <= 0
  }

  offered_models = [for id, model in local.models : id if model.batch && local.in_region[id] && !local.ended[id] && contains(keys(model), "as_of")]

  # Models that a variable names must fit. Other models of the table are left out if they do not fit.
  chosen_models = setunion(keys(var.models), [var.default_model])

  # For the functions: the ids, each with its differences from the table. The table does not fit into the 4 KB of an environment.
  models_setting = jsonencode({ for id in local.offered_models : id => lookup(local.model_changes, id, {}) })

  profiles = [for id in local.offered_models : id if local.profile_prefix[id] != null]
  # The model, or an inference profile and the models behind it, in each of its regions
  # (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-prereq.html).
  profile_arns = flatten([for id in local.profiles : [
    "${local.bedrock_arn}:inference-profile/${id}",
    "arn:${var.deployment.partition}:bedrock:*::foundation-model/${trimprefix(id, "${local.profile_prefix[id]}.")}",
  ]])
  model_arns = concat(
    [for id in local.offered_models : "arn:${var.deployment.partition}:bedrock:${var.deployment.region}::foundation-model/${id}" if !contains(local.profiles, id)],
    local.profile_arns,
  )
}

output "models" {
  description = "Ids of the models that jobs can run on."
  value       = sort(local.offered_models)

  precondition {
    condition     = alltrue([for id in local.chosen_models : contains(keys(local.models), id)])
    error_message = "${join(", ", [for id in local.chosen_models : id if !contains(keys(local.models), id)])}: no such model is known. Take one of ${join(", ", local.offered_models)}, or add it to bedrock_models with its price."
  }

  precondition {
    condition     = alltrue([for id in local.chosen_models : length(setintersection(keys(local.models[id]), ["input_usd_per_1k_tokens", "output_usd_per_1k_tokens", "as_of"])) == 3 if contains(keys(local.models), id)])
    error_message = "${join(", ", [for id in keys(var.models) : id if !contains(keys(local.model_table), id)])}: a model that is not in models.json needs input_usd_per_1k_tokens, output_usd_per_1k_tokens and as_of in bedrock_models."
  }

  precondition {
    condition     = alltrue([for id in local.chosen_models : local.models[id].batch if contains(keys(local.models), id)])
    error_message = "${join(", ", [for id in local.chosen_models : id if try(!local.models[id].batch, false)])}: batch inference does not take this model (https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-supported.html). Where AWS has added it since, set batch = true for it in bedrock_models."
  }

  precondition {
    condition     = alltrue([for id in local.chosen_models : local.in_region[id] if contains(keys(local.models), id)])
    error_message = "${join("; ", [for id in local.chosen_models : "${id} is not taken by batch inference in ${var.deployment.region}, but in ${local.models[id].batch_regions == null ? "the Regions of its inference profile" : join(", ", local.models[id].batch_regions)}" if try(!local.in_region[id], false)])}. Set bedrock_default_model, or the model in bedrock_models, to one of ${join(", ", local.offered_models)}. Where AWS has added the Region since, set batch_regions for the model in bedrock_models."
  }

  precondition {
    condition     = alltrue([for id in local.chosen_models : !local.ended[id] if contains(keys(local.models), id)])
    error_message = "${join("; ", [for id in local.chosen_models : "${id} reached its end of life on ${local.models[id].end_of_life}" if try(local.ended[id], false)])}: choose another model (https://docs.aws.amazon.com/bedrock/latest/userguide/model-lifecycle.html)."
  }
}
