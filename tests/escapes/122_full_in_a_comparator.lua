-- expect: memory-limit
-- limits: memory_bytes=8388608
local t = {}
table.sort({ 1, 2, 3 }, function(a, b) for i = 1, 1e9 do t[i] = { a, b } end end)
