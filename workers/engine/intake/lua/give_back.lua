-- KEYS: leased. ARGV: holder, tags; the first of them is the next to be fetched. Another's are left alone.
--@ parts engine/intake/give_back_one

for i = #ARGV, 2, -1 do
  if states(ARGV[1], {ARGV[i]})[1] == 'mine' then give_back(ARGV[i]) end
end
