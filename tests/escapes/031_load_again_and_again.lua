-- expect: cpu-limit
-- limits: cpu_ms=100
while true do load("local a = 1 return function() return a end") end
