-- expect: 200 body="contained"
local t = {}
for _, act in ipairs{
  function() return t < t end, function() return t .. print end, function() return t + 1 end, function() return #print end,
  function() return t() end, function() error(tostring(t)) end, function() return math.floor(t) end, function() return ("x"):rep(t) end,
  function() return string.format("%d", t) end, function() return tonumber(t, 10) end, function() return json.encode(print) end,
  function() return setmetatable(t, 5) end, function() return table.concat({ t }) end, function() return utf8.char(t) end,
} do
  local _, reason = pcall(act)
  local digits = reason:match("0x(%x+)")
  assert(not digits or tonumber(digits, 16) < 100000, reason)
end
return "contained"
