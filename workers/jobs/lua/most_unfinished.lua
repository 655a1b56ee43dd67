-- Lua function for `weigh`. `most` jobs may be delayed and `most` others queued. It
-- returns how many jobs may be unfinished in all, and how many unfinished jobs are of the other kind. `asked` is as in
-- `weights`. (It counts only if the limit may be reached: not every program may read `delayed`.)
--@ parts platform/try_call
local function most_unfinished(most, unfinished, asked, delayed, is_delayed)
  if not most or not (asked.owner or unfinished + asked.jobs > most) then return most, 0 end
  local count = try_call('ZCARD', delayed) or 0
  local others = is_delayed and unfinished - count or count
  return most + others, others
end
