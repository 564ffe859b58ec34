-- expect: cpu-limit
-- limits: cpu_ms=100
while true do pcall(function() while true do end end) end
