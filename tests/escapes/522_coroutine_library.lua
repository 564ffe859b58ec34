-- expect: 200 body="contained"
local main, is_main = coroutine.running()
assert(type(main) == "thread")
assert(not pcall(coroutine.close, main))
assert(not coroutine.resume(main))
assert(not pcall(coroutine.wrap(function() coroutine.close(main) end)))
assert(not pcall(coroutine.close, 5) and not pcall(coroutine.create, print and 5))
local co = coroutine.create(coroutine.running)
assert(coroutine.resume(co) and coroutine.close(co) and not coroutine.resume(co))
return "contained"
