-- expect: script-error detail~"not available"
-- limits: memory_bytes=8388608
-- Until `http` and `kv` answer: then this reads answers as large as the memory, and expects memory-limit.
local held = {}
for i = 1, 1000 do held[i] = http.fetch("http://127.0.0.1/") end
