-- expect: memory-limit
-- limits: memory_bytes=8388608
local text = "x"
while true do text = text:gsub(".", "%0%0%0%0") end
