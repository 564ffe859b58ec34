-- expect: 200 body="contained"
-- luaG_runerror wrote beyond the stack when an error came up while one was handled.
local function overflow(a, b, c, d, e, f, g, h) return overflow(a, b, c, d, e, f, g, h) .. "x" end
for _ = 1, 5 do
  local done = xpcall(overflow, function(message)
    local t = setmetatable({}, { __concat = function(a, b) return overflow() .. a end })
    return t .. message .. nil
  end)
  assert(not done)
end
return "contained"
