-- expect: 200 body="contained"
-- binding: probe
local calls, failed, bad = 0, 0, nil
local function deep(n)
  if n % 1000 == 0 then
    local done, reply = pcall(probe, "probe.echo", "x")
    if done then calls = calls + 1 elseif type(reply) == "string" then failed = failed + 1 else bad = type(reply) end
  end
  return 1 + deep(n + 1)
end
local done, reason = pcall(deep, 1)
return not done and type(reason) == "string" and calls > 10 and not bad and "contained" or tostring(bad or reason)
