-- expect: memory-limit
-- limits: memory_bytes=8388608
local text = ("x"):rep(1000000)
return #string.format(("%s"):rep(100), table.unpack((function() local t = {} for i = 1, 100 do t[i] = text end return t end)()))
