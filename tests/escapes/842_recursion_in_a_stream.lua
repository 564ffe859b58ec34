-- expect: script-error detail~"stack overflow"
return stream(function(write)
  local function down(n) write("") return down(n + 1) + 1 end
  write("a")
  return down(1)
end)
