-- expect: memory-limit
-- limits: memory_bytes=8388608
-- The memory is full before the stack is.
local function deep() return 1 + deep() end
return deep()
