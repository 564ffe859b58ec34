-- expect: 200 body="contained"
-- Constant folding that went wrong in 5.4.0 to 5.4.6.
local done = pcall(function() return ~0.5 end)
assert(not done and not pcall(load("return 1 & 1.5")) and not pcall(load("return 'a' | 1")))
assert(~0xFFFFFFFFFFFFFFFF == 0 and -0.0 == 0.0 and 1 / -0.0 == -math.huge and 0x7fffffffffffffff + 1 == math.mininteger)
local x <const>, y <const> = 1, 0.0
assert(x // 1 == 1 and x / y == math.huge and not (x // y ~= math.huge))
local a, b, c = 1, 2, 3
a, b, a = b, a, c
return "contained"
