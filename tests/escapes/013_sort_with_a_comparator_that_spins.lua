-- expect: cpu-limit
-- limits: cpu_ms=100
table.sort({ 2, 1 }, function() while true do end end)
