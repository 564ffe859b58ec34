-- expect: 200 body="contained"
-- binding: probe
local done, reason = pcall(probe, "probe.refuse", "x")
assert(not done and reason == "main.lua:3: not today", reason)
local told = select(2, xpcall(probe, function(why) return type(why) .. probe("probe.echo", "!") end, "probe.refuse"))
assert(told == "string!", told)
for _ = 1, 500 do assert(not pcall(probe, "probe.refuse")) end
return probe("probe.echo", "contained")
