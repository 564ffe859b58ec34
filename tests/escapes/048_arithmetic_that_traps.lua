-- expect: 200 body="contained"
-- The smallest integer by -1 traps in the processor unless somebody looks.
local smallest, minus = math.mininteger, tonumber("-1")
assert(smallest // minus == smallest and smallest % minus == 0)
assert(not pcall(function() return smallest // (minus + 1) end))
assert(not pcall(function() return smallest % (minus + 1) end))
assert(1 << 64 == 0 and 1 >> -63 == smallest and 1 << smallest == 0)
assert(math.abs(smallest) == smallest and math.ult(1, smallest) and math.fmod(smallest, minus) == 0)
assert(not pcall(math.fmod, 1, 0) and not pcall(math.random, 0, -1))
return "contained"
