-- expect: 200 body="contained"
local co
co = coroutine.create(function()
  local _ <close> = setmetatable({}, { __close = function() coroutine.close(co) end })
  coroutine.yield(20)
end)
coroutine.resume(co)
local done, reason = pcall(coroutine.close, co)
assert(not pcall(coroutine.close, coroutine.running()))
return "contained"
