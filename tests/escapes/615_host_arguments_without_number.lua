-- expect: 200 body="contained"
-- binding: probe
local list = {}
for i = 1, 900000 do list[i] = "" end
local done, reason = pcall(function() return probe("probe.count", table.unpack(list)) end)
if done or type(reason) ~= "string" then return "all of them crossed" end
local ten = table.pack(probe("probe.echo", table.unpack(list, 1, 5000)))
return ten.n == 5000 and probe("probe.echo", "contained") or tostring(ten.n)
