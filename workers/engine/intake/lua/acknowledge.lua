-- ARGV: holder, tags. Another's leases are left alone.
--@ parts platform/even_if_full queues/leases

end_mine(ARGV[1], {unpack(ARGV, 2)})
