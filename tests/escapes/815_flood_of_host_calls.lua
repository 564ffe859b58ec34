-- expect: cpu-limit
-- limits: cpu_ms=200
-- A place for a limit on host calls; those that there are today are counted as CPU.
while true do time.now() crypto.random_bytes(1) crypto.sha256("") end
