-- expect: memory-limit
-- limits: memory_bytes=8388608
local t = {}
return (("x"):rep(1000):gsub(".", function(x) for _ = 1, 10000 do t[#t + 1] = { x } end return ("y"):rep(100) end))
