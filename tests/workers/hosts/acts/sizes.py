"""Numbers that acts and tests share."""

MEBIBYTE = 1 << 20
#: Longer than any test waits.
LONG_S = 600
