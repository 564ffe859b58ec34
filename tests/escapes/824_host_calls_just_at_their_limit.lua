-- expect: 200 body="50"
-- limits: host_calls=50
-- binding: probe
local made = 0
for _ = 1, 50 do made = made + #probe("probe.echo", "x") end
return tostring(made)
