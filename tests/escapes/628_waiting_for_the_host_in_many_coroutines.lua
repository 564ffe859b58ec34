-- expect: timeout
-- limits: wall_ms=300 cpu_ms=200
-- binding: probe
local many = {}
for i = 1, 100 do many[i] = coroutine.wrap(function() while true do pcall(probe, "probe.late") coroutine.yield() end end) end
while true do for i = 1, 100 do many[i]() end end
