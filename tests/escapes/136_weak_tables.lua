-- expect: memory-limit
-- limits: memory_bytes=8388608
-- Ephemerons that hold each other.
local weak, first = setmetatable({}, { __mode = "k" }), {}
local key = first
for _ = 1, 1e9 do
  local nextkey = {}
  weak[key] = nextkey
  key = nextkey
end
return weak, first
