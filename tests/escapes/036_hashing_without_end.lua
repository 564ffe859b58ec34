-- expect: cpu-limit
-- limits: cpu_ms=100
-- The work is Python's, and so is the time: no Python handler could run there.
local text = ("x"):rep(4000000)
while true do crypto.sha256(text) end
