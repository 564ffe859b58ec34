-- expect: script-error detail="main.lua:4: not today"
-- binding: probe
return function()
  local answer = probe("probe.refuse", "x")
  return answer
end
