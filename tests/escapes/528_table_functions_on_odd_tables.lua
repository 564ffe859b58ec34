-- expect: 200 body="contained"
local odd = setmetatable({}, {
  __len = function() return math.maxinteger end,
  __index = function(_, key) return key end,
  __newindex = function(t, key, value) rawset(t, key, value) end,
})
for _, act in ipairs{
  function() table.insert(odd, 1) end, function() table.remove(odd) end, function() return table.concat(odd, "", 1, 3) end,
  function() return table.unpack(odd, 1, 3) end, function() table.sort(odd) end, function() table.insert(odd, 5, 1) end,
} do
  local done, reason = pcall(act)
  assert(done or type(reason) == "string")
  if not done then break end
end
local float = setmetatable({}, { __len = function() return 1.5 end })
assert(not pcall(table.insert, float, 1) and not pcall(table.unpack, float) and not pcall(ipairs))
return "contained"
