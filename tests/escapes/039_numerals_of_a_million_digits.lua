-- expect: cpu-limit
-- limits: cpu_ms=100
local digits = "0x" .. ("f"):rep(1000000)
while true do tonumber(digits) math.tointeger(digits) end
