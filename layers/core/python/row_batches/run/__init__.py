"""The run of a batch: from validation to aggregation. The modules, in the order of a run:

- The functions, one use case each: ``validate_input``, ``process_tool_rows``, ``map_input``, ``map_output``,
  ``find_missing``, ``aggregate_results``, ``finish_run``, ``notify``. Their requests and responses are in
  ``input_messages``, ``tool_messages``, ``agent_messages`` and ``end_messages``, the parts that these share in
  ``messages``. Their settings are in ``settings``, and ``wiring`` and ``wiring_input`` connect them with adapters.
- Before any row runs: ``resolve_target``, ``destination``, ``staging``, ``duplicates``, ``storage``, ``cost``,
  ``plan_warnings``, ``make_plan``, ``validate_response``.
- Inputs and answers of earlier runs: ``returned_rows``, ``earlier_execution``, ``staged_again``, ``earlier_answers``,
  ``cached_answers``, ``answer_cache``.
- While rows run: ``batch``, ``commit``, ``ownership``, ``pace``, ``starts``, ``claims``, ``permits``,
  ``child_permit``, ``spending``, ``child_trace``, ``traces``.
- The trial: ``trial``, ``trial_rows``, ``trial_report``, ``trial_forecast``.
- When the rows are done: ``totals``, ``summary_parts``, ``causes``, ``cures``, ``blanks``, ``skipped``, ``fan_out``,
  ``child_errors``, ``letters``, ``formats``, ``proof``, ``delivery``, ``conclusion``.
- After the execution: ``ended``, ``finish``, ``redrive``, ``remap``.
- Ports and adapters: ``ports``, ``runs``, ``runs_dynamodb``, ``cache_dynamodb``, ``sqs``, ``stepfunctions``, ``xray``.
"""
