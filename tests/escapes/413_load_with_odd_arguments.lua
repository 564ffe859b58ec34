-- expect: 200 body="contained"
local odd = setmetatable({}, { __tostring = function() return "b" end, __name = "string" })
for _, mode in ipairs{ odd, true, print, 1.5 } do
  local done, chunk = pcall(load, "\27Lua", "=x", mode)
  assert(not done or chunk == nil)
end
assert(not pcall(load, odd) and not pcall(load) and not pcall(load, nil) and not pcall(load, 5, odd))
assert(load("return 1", nil, nil, nil))
return "contained"
