-- expect: cpu-limit or script-error detail~"over the limit of 1000 host calls"
-- because: the calls run out, unless the clock is first
-- limits: cpu_ms=1000
-- binding: probe
return function()
  local _ <close> = setmetatable({}, { __close = function() while true do probe("probe.echo", "x") end end })
  return "answered"
end
