-- expect: memory-limit
-- limits: memory_bytes=8388608
local text = "[" .. ("[],"):rep(300000) .. "[]]"
return #json.decode(text)
