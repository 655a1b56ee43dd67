-- Takes notes that are due: if they are many, half are those that are due for the longest time, and half the newest, so
-- that what is to be published now doesn't wait behind all jobs whose queues are full. For some seconds no other process takes them; then they are due again.
-- KEYS: the notes that are due. ARGV: most notes, seconds.
-- Returns for each note its name, plan, record, job to submit, when it was noted (s), how many times it was taken, and
-- since when the endpoint of its job has not existed (s; "" if it exists).
--@ parts platform/even_if_full platform/now
--@ constants workers.keys successor_note
--@ constants workers.successors.notes UNKNOWN_SINCE
local due_notes = KEYS[1]
local most, seconds = unpack(ARGV)
local ids, taken = redis.call('ZRANGEBYSCORE', due_notes, '-inf', now, 'LIMIT', 0, most), {}
if #ids == tonumber(most) then
  local new = math.floor(most / 2)
  for i, note_id in ipairs(redis.call('ZREVRANGEBYSCORE', due_notes, now, '-inf', 'LIMIT', 0, new)) do
    ids[most - new + i] = note_id
  end
end
for _, note_id in ipairs(ids) do
  local key = successor_note_prefix .. note_id
  local plan, record, job, at, since = unpack(redis.call('HMGET', key, 'plan', 'record', 'job', 'at', UNKNOWN_SINCE))
  if plan or job then
    redis.call('ZADD', due_notes, 'XX', now + seconds, note_id)
    local tries = redis.call('HINCRBY', key, 'tries', 1)
    taken[#taken + 1] = {note_id, plan or '', record or '', job or '', at or '0', tries, since or ''}
  else
    redis.call('ZREM', due_notes, note_id)
  end
end
return taken
