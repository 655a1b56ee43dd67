-- Lua functions for the scripts that end jobs. `plans_of` returns the plans of those of the jobs that have successors;
-- without any it costs one EXISTS. `with_children` returns the record of a job that has succeeded with the ids of its
-- successors, as Celery shows them. `note_successors` of plans, ids of ended jobs and their records notes what is to be
-- published, and returns for how many jobs. The plan is deleted last: if a step fails, it is found again.
--@ parts jobs/status
--@ constants workers.keys SUCCESSORS SUCCESSORS_DUE SUCCESSORS_UNRECORDED successor_note
--@ constants workers.jobs.endings.successors NO_CHILDREN END_OF
local function plans_of(ids)
  local plans = {}
  -- Users with the documented rights of earlier releases may not run it.
  if #ids == 0 or redis.pcall('EXISTS', SUCCESSORS) ~= 1 then return plans end
  local found = redis.pcall('HMGET', SUCCESSORS, unpack(ids))
  for i, id in ipairs(ids) do plans[id] = found[i] or nil end
  return plans
end

local function with_children(record, plan)
  local children = plan and status_of(record) == 'SUCCESS' and string.match(plan, '^([^\n]*)\n')
  if not children or children == NO_CHILDREN then return record end
  local before, after = ',"children":', ',"date_done":'
  local place, at = before .. NO_CHILDREN .. after, nil
  -- The last one is the record's own: an outcome, which comes before, can contain the same.
  local found = string.find(record, place, 1, true)
  while found do
    at = found
    found = string.find(record, place, at + 1, true)
  end
  if not at then return record end
  return string.sub(record, 1, at - 1) .. before .. children .. after .. string.sub(record, at + #place)
end

local function note_successors(plans, ids, records)
  local noted = 0
  if not next(plans) then return noted end
  local time = redis.call('TIME')
  local now = time[1] + time[2] / 1e6
  for i, job_id in ipairs(ids) do
    if plans[job_id] then
      local note_id = END_OF .. job_id
      redis.call('HSET', successor_note_prefix .. note_id, 'plan', plans[job_id], 'record', records[i], 'at', now)
      redis.call('ZADD', SUCCESSORS_DUE, now, note_id)
      redis.call('ZREM', SUCCESSORS_UNRECORDED, job_id)
      redis.call('HDEL', SUCCESSORS, job_id)
      noted = noted + 1
    end
  end
  return noted
end
