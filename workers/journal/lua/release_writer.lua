-- ARGV: token. Gives the right to write the files back, unless another process has it.
--@ parts platform/even_if_full journal/holds_writer
if holds_writer(ARGV[1]) then redis.call('DEL', JOURNAL_WRITER) end
