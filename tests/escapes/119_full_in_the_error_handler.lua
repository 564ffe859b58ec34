-- expect: script-error or memory-limit
-- because: whether the handler's own failure or the first one is reported is Lua's choice at the place of failure
-- limits: memory_bytes=8388608
local function grow() local t = {} for i = 1, 1e9 do t[i] = { i } end end
local done, reason = xpcall(grow, grow)
error(reason, 0)
