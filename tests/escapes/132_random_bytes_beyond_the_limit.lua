-- expect: memory-limit
-- limits: memory_bytes=8388608
-- An answer of Python's is pushed with the limit lifted: it must not be a way around the limit.
local held = {}
for i = 1, 100000 do held[i] = false end
for i = 1, 100000 do held[i] = crypto.random_bytes(65536) end
return "held " .. #held * 65536 .. " bytes"
