-- KEYS: malformed. ARGV: a message, how many are kept, holder, tag.
--@ parts engine/intake/keep_malformed queues/leases

local holder, tag = unpack(ARGV, 3, 4)
end_mine(holder, {tag})
