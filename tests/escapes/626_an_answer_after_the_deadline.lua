-- expect: timeout
-- limits: wall_ms=300
-- binding: probe
return probe("probe.late")
