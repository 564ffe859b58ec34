-- expect: memory-limit
-- A frame as small as this takes 80 bytes: 64 MiB are full before Lua's own bound, a million slots, is reached.
local function deep() return 1 + deep() end
return deep()
