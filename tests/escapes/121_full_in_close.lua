-- expect: memory-limit
-- limits: memory_bytes=8388608
local _ <close> = setmetatable({}, {
  __close = function() local t = {} for i = 1, 1e9 do t[i] = { i } end end,
})
error("first")
