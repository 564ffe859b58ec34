-- expect: memory-limit or script-error
-- because: the words of the error may themselves be too large
-- limits: memory_bytes=8388608
local t = {}
for i = 1, 20000 do t[i] = ("x"):rep(200) .. i end
error(t)
