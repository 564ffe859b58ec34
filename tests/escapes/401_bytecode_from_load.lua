-- expect: 200 body="contained"
for _, mode in ipairs{ "b", "bt", "tb", "t", "", "x", "bbt" } do
  local chunk, reason = load("\27Lua", "=x", mode)
  if chunk or type(reason) ~= "string" then return mode .. ": " .. tostring(reason) end
end
assert(not load("\27Lua") and not load("\27"))
return "contained"
