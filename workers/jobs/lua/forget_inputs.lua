-- Lua function of members of KEPT_INPUTS: deletes these inputs of failed jobs, unless the job is a dead letter by now.
--@ constants workers.keys DEAD_LETTERS KEPT_INPUTS KEPT_INPUT_BYTES dead_letter kept_inputs
local function forget_inputs(members)
  for _, member in ipairs(members) do
    local bytes, endpoint, job_id = string.match(member, '^(%d+) (%S+) (.*)$')
    if redis.call('ZREM', KEPT_INPUTS, member) == 1 then
      redis.call('ZREM', kept_inputs_prefix .. endpoint, member)
      if not redis.call('ZSCORE', DEAD_LETTERS, job_id) then redis.call('DEL', dead_letter_prefix .. job_id) end
      for _, whose in ipairs({endpoint, ''}) do
        if redis.call('HINCRBY', KEPT_INPUT_BYTES, whose, -bytes) <= 0 then
          redis.call('HDEL', KEPT_INPUT_BYTES, whose)
        end
      end
    end
  end
end
