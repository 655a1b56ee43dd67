-- ARGV: seconds, holder, tags in the order of `fetch`. Returns the tags whose lease is not the holder's
-- any more: it is gone, and not taken up again, or another's.
--@ parts platform/even_if_full platform/now queues/leases

local lease_s, holder = unpack(ARGV, 1, 2)
local tags, times, lost = {}, {}, {}
local found = states(holder, {unpack(ARGV, 3)})
for i = 3, #ARGV do
  if found[i - 2] == 'mine' then
    tags[#tags + 1], times[#times + 1] = ARGV[i], now + lease_s + i / 1e6
  else
    lost[#lost + 1] = ARGV[i]
  end
end
grant(holder, tags, times)
return lost
