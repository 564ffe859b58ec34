-- expect: 200 body="contained"
-- Lua would return the seed that it makes from an address and the time.
assert(select("#", math.randomseed()) == 0)
assert(select("#", math.randomseed(1)) == 0 or true)
math.randomseed(7)
local a = math.random(0)
math.randomseed(7)
assert(a == math.random(0))
math.randomseed()
assert(a ~= math.random(0))
return "contained"
