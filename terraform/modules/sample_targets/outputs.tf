output "targets" {
  description = "The sample targets, as variable targets takes them."
  value = merge(
    {
      for name, tool in module.tool : name => {
        type       = "tool"
        arn        = tool.arn
        invocation = "lambda"
        # Shown by the estimates; a sample's call costs what Lambda does, which is nearly nothing.
        cost_per_call_usd = 0
      }
    },
    {
      for name, agent in module.agent : name => {
        type              = "agent"
        arn               = agent.arn
        invocation        = contains(local.express_agents, name) ? "express" : "standard"
        cost_per_call_usd = 0
        # Answers at once, unless it is asked to be slow.
        expected_seconds = 1
      }
    },
    # What a batch gets that names a target which is no longer to be called.
    { retired = { type = "tool", arn = module.tool["echo"].arn, invocation = "lambda", enabled = false, cost_per_call_usd = 0 } },
  )
}
