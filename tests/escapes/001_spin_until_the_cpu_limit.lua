-- expect: cpu-limit detail="exceeded the CPU limit of 100 ms"
-- limits: cpu_ms=100
while true do end
