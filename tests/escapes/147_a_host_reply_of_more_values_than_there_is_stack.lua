-- expect: 200 body="contained"
-- binding: probe
local list = {}
for i = 1, 900000 do list[i] = i end
local function crowded(...) return pcall(probe, "probe.many", "120000", "1") end
for _ = 1, 2 do
  local done, reason = crowded(table.unpack(list))
  if done or type(reason) ~= "string" then return "more values than a stack holds" end
end
return probe("probe.echo", "contained")
