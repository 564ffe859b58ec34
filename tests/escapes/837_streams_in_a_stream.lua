-- expect: 200 body="a"
return stream(function(write)
  write("a")
  local inner = stream(write)
  assert(not pcall(inner, "b"))
  return stream(function() write("c") end), inner
end)
