-- expect: script-error detail~"attempt to index a nil value"
for _, library in ipairs{ string, table, json, log } do
  for name in pairs(library) do library[name] = function() return "poisoned" end end
end
tostring, type, error = nil, nil, nil
local x
return x.y
