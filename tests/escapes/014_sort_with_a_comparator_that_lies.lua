-- expect: script-error detail~"main.lua"
local list = {}
for i = 1, 1000 do list[i] = i end
table.sort(list, function() return true end)
return "sorted by nonsense"
