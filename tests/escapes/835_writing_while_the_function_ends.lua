-- expect: 200 body="ab"
return stream(function(write)
  local last <close> = setmetatable({}, { __close = function() write("b") end })
  write("a")
end)
