-- expect: 200 body="contained"
-- A message handler could be overwritten by a variable that is closed with its thread.
for _ = 1, 50 do
  local co = coroutine.wrap(function()
    return xpcall(function()
      local _ <close> = setmetatable({}, { __close = function() error(("y"):rep(100)) end })
      local function grow(n) if n > 0 then return 1 + grow(n - 1) end error("x") end
      return grow(5000)
    end, function(message) return { message } end)
  end)
  local done, reason = co()
  assert(not done and type(reason) == "table" and type(reason[1]) == "string")
end
return "contained"
