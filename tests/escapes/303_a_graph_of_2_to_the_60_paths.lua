-- expect: memory-limit
-- limits: memory_bytes=16777216
local t = {}
for _ = 1, 60 do t = { t, t } end
return t
