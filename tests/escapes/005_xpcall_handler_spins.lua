-- expect: cpu-limit
-- limits: cpu_ms=100
xpcall(error, function() while true do end end, "x")
