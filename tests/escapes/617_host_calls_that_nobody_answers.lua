-- expect: 200 body="contained"
-- binding: probe
for _, name in ipairs{ "probe.no_such", "kv_.get", "os.execute", "x.y" } do
  local done, reason = pcall(probe, name, "x")
  if done or not reason:find("^main.lua:%d+: ") or reason:find("Traceback") then return tostring(reason) end
end
return "contained"
