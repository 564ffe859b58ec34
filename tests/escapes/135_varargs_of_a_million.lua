-- expect: script-error
local t = {}
for i = 1, 2000000 do t[i] = i end
return select("#", table.unpack(t))
