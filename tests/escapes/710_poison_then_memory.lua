-- expect: memory-limit
-- limits: memory_bytes=8388608
for name in pairs(string) do string[name] = nil end
pcall, error, tostring = nil, nil, nil
local t = {}
for i = 1, 1e9 do t[i] = { i } end
