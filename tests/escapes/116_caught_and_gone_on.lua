-- expect: 200 body="contained"
-- limits: memory_bytes=8388608
-- The limit is an error like others: who catches it has a working Lua.
local done, reason = pcall(function() return #("x"):rep(100000000) end)
assert(not done and reason == "not enough memory", reason)
assert(#json.encode{ ("x"):rep(1000) } == 1004)
return "contained"
