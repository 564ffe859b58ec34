-- expect: 200 body="contained"
-- limits: host_calls=40
-- binding: probe
local text = ("x"):rep(2000000)
for _ = 1, 40 do assert(#probe("probe.echo", text) == #text) end
return "contained"
