-- expect: script-error detail="main.lua:4: probe.echo: over the limit of 1000 host calls"
-- binding: probe
return function()
  while true do probe("probe.echo", "x") end
end
