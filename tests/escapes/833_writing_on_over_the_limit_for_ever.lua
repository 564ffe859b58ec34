-- expect: cpu-limit or timeout
-- because: which clock is first depends on how busy the machine is
-- limits: cpu_ms=500 response_bytes=1000
return stream(function(write)
  while true do pcall(write, ("x"):rep(1001)) end
end)
