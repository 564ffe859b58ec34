-- expect: cpu-limit
-- limits: cpu_ms=100
return table.move({}, 1, 1 << 61, 2)
