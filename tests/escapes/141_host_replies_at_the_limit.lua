-- expect: memory-limit
-- limits: memory_bytes=8388608
-- binding: probe
local held = {}
for i = 1, 1000 do held[i] = probe("probe.bytes", "65536") end
return "held " .. #held * 65536 .. " bytes"
