-- expect: memory-limit
-- limits: memory_bytes=8388608
local t = {}
while true do t = { t, {}, {} } end
