-- expect: cpu-limit
-- limits: cpu_ms=200 host_calls=10
-- binding: probe
while true do pcall(probe, "probe.echo", "x") end
