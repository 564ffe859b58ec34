-- expect: cpu-limit
-- limits: cpu_ms=100
return function()
  local _ <close> = setmetatable({}, { __close = function() while true do end end })
  return "answered"
end
