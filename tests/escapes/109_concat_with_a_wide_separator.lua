-- expect: memory-limit
-- limits: memory_bytes=8388608
local t = {}
for i = 1, 1000 do t[i] = "x" end
return #table.concat(t, ("y"):rep(100000))
