-- expect: cpu-limit
-- limits: memory_bytes=8388608 cpu_ms=300
-- The memory stays full: each attempt fails at another place.
held = {}
while true do
  pcall(function() held[#held + 1] = ("x"):rep(#held % 97 + 100) .. #held end)
  pcall(function() held[#held + 1] = { {} } end)
  pcall(function() held[#held + 1] = function() return held end end)
end
