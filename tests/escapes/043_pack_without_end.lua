-- expect: cpu-limit
-- limits: cpu_ms=100
local layout = ("!16i16"):rep(1000)
while true do pcall(string.packsize, layout) end
