-- expect: timeout
-- limits: wall_ms=300
-- binding: probe
while true do pcall(probe, "probe.late") end
