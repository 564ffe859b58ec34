-- expect: cpu-limit
-- limits: cpu_ms=100
local source = ("a=a+1 "):rep(100000)
while true do load(source) end
