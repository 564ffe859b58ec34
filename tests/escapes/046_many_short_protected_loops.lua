-- expect: cpu-limit
-- limits: cpu_ms=150
-- No slice is long: only the sum is.
while true do
  pcall(function() for _ = 1, 1000 do end error("next") end)
end
