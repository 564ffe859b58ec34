-- expect: 200 body="abc"
return stream(function(write)
  local each = coroutine.wrap(function() write("a") coroutine.yield() write("lost") end)
  each()
  local _, inner = pcall(coroutine.wrap(function() write("b") return write end))
  inner("c")
end)
