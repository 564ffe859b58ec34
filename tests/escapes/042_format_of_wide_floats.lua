-- expect: cpu-limit
-- limits: cpu_ms=100
while true do string.format("%99.99f %.99a", 1.7e308, 1 / 3) end
