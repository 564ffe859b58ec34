-- expect: cpu-limit
-- limits: cpu_ms=100
return load(function() return " " end)
