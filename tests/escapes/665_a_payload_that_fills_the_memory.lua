-- expect: memory-limit
-- limits: memory_bytes=8388608
local deep = {}
for at = 1, 1000000 do deep[at] = { at } end
jobs.send("escape", deep)
