-- expect: 200 body="contained"
-- limits: host_calls=50
-- binding: probe
local made, refused = 0, 0
for _ = 1, 20000 do
  local done, reason = pcall(probe, "probe.echo", "x")
  if done then made = made + 1 elseif reason:find("over the limit of 50 host calls", 1, true) then refused = refused + 1 end
end
return made == 50 and refused == 19950 and "contained" or made .. " " .. refused
