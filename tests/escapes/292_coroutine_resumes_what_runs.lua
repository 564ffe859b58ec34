-- expect: 200 body="contained"
local co
co = coroutine.create(function()
  assert(not coroutine.resume(co))
  assert(not pcall(coroutine.wrap(function() return assert(coroutine.resume(co)) end)))
  local main = coroutine.running()
  assert(not coroutine.resume(main))
  coroutine.yield()
end)
assert(coroutine.resume(co))
coroutine.close(co)
assert(not coroutine.resume(co) and not coroutine.resume(coroutine.running()))
return "contained"
