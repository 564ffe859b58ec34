-- expect: 200 body="contained"
local t = setmetatable({}, {})
local meta = getmetatable(t)
for _, event in ipairs{ "add", "concat", "eq", "lt", "le", "len", "unm", "band", "shl", "idiv", "newindex", "call" } do
  meta["__" .. event] = function() return t + t end
end
local other = setmetatable({}, meta)
for _, act in ipairs{
  function() return t + 1 end, function() return t .. "x" end, function() return t == other end,
  function() return t < other end, function() return t <= other end, function() return #t end,
  function() return -t end, function() return t & 1 end, function() return t << 1 end, function() return t // 1 end,
  function() t.x = 1 end, function() return t() end,
} do
  local done, reason = pcall(act)
  if done or not tostring(reason):find("stack overflow", 1, true) then return tostring(reason) end
end
return "contained"
