-- expect: 200 body="contained"
local function loop(x, y, z) return 1 + loop(x, y, z) end
local done, reason = xpcall(loop, loop)
assert(not done)
done, reason = xpcall(loop, function(message) return loop() .. message end)
assert(not done)
done, reason = xpcall(error, function(message) error(message) end, "x")
assert(not done)
return "contained"
