-- expect: cpu-limit
-- limits: cpu_ms=100
local text = ("x"):rep(100000)
while true do text = text:gsub("()", "") end
