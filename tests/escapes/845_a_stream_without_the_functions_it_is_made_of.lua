-- expect: 200 body~"contained"
string.sub, string.format, table.unpack, coroutine.yield, math.type = nil
getmetatable(request.headers)
return stream(function(write)
  _G, error, type, select, pcall = nil
  write(("x"):rep(70000) .. "contained")
end)
