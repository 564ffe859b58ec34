-- expect: 200 body="contained"
-- Lua up to 5.4.4 ran out of C stack: each coroutine closes the one before.
local last
for _ = 1, 1000 do
  local previous = last
  last = coroutine.create(function()
    local _ <close> = setmetatable({}, {
      __close = function() if previous then assert(coroutine.close(previous)) end end,
    })
    coroutine.yield()
  end)
  assert(coroutine.resume(last))
end
local done, reason = coroutine.close(last)
return not done and tostring(reason):find("overflow", 1, true) and "contained" or tostring(reason)
