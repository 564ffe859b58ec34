-- expect: cpu-limit
-- limits: cpu_ms=100
local function ping() while true do coroutine.yield() end end
local one, two = coroutine.wrap(ping), coroutine.wrap(ping)
while true do one() two() end
