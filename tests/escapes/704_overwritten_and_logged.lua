-- expect: 200 body="ok" log="{\"a\":1}"
local write = log.info
for _, library in ipairs{ json, string, table } do
  for name in pairs(library) do library[name] = function() return "poisoned" end end
end
tostring, type, next, select = nil, nil, nil, nil
write({ a = 1 })
return "ok"
