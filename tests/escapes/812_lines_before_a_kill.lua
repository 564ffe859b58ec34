-- expect: cpu-limit log="before"
-- limits: cpu_ms=100
log.info("before")
while true do end
