-- expect: cpu-limit
-- limits: cpu_ms=150
while true do log.warn("again") end
