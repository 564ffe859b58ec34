-- expect: cpu-limit or timeout
-- because: which clock is first depends on how busy the machine is
-- limits: cpu_ms=300
return stream(function(write)
  local last <close> = setmetatable({}, { __close = function() while true do pcall(write, "") end end })
  write("a")
  error("up")
end)
