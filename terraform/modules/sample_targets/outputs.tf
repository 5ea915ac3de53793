output "targets" {
  description = "The sample targets, in the form of variable targets."
  value = merge(
    {
      for name, tool in module.tool : name => {
        type       = "tool"
        arn        = tool.arn
        invocation = "lambda"
        # For the estimates. A sample's call costs nearly nothing.
        cost_per_call_usd = 0
        max_concurrency   = lookup(local.limits, name, null)
      }
    },
    {
      for name, agent in module.agent : name => {
        type              = "agent"
        arn               = agent.arn
        invocation        = contains(local.express_agents, name) ? "express" : "standard"
        cost_per_call_usd = 0
        # Answers at once, unless the input asks for a slow answer.
        expected_seconds = 1
        max_concurrency  = lookup(local.limits, name, null)
      }
    },
    # Agents with a schema in schemas/, which bear its name. One machine answers for both.
    {
      for name in ["broadband-agent-rust", "web-search-agent"] : name => {
        type              = "agent"
        arn               = module.agent["browsing_agent"].arn
        invocation        = "standard"
        cost_per_call_usd = 0
        expected_seconds  = 1
      }
    },
    # To show what happens if a batch names a disabled target.
    { retired = { type = "tool", arn = module.tool["echo"].arn, invocation = "lambda", enabled = false, cost_per_call_usd = 0 } },
  )
}
