-- expect: 200 body="contained"
-- What `math.random` gives away must not be what `crypto` gives.
math.randomseed(42)
local first = crypto.random_bytes(32)
math.randomseed(42)
assert(first ~= crypto.random_bytes(32))
return "contained"
