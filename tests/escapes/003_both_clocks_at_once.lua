-- expect: cpu-limit or timeout
-- because: both limits are the same, and which the kernel reaches first depends on how busy the machine is
-- limits: wall_ms=200 cpu_ms=200
while true do end
