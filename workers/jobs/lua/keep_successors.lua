-- Keeps what follows jobs, as their messages say, unless the job has ended or a plan is kept already.
-- KEYS: the records. ARGV: id and plan of each job.
--@ parts platform/even_if_full jobs/status
--@ constants workers.keys SUCCESSORS
for i, record_key in ipairs(KEYS) do
  local job_id, plan = unpack(ARGV, 2 * i - 1, 2 * i)
  if not terminal(status_of(record_of(record_key))) then redis.call('HSETNX', SUCCESSORS, job_id, plan) end
end
