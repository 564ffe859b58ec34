-- expect: memory-limit
-- limits: memory_bytes=4194304
-- binding: probe
local held = { probe("probe.many", "40000", "100") }
return "held " .. #held
