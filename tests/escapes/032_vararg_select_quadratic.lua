-- expect: cpu-limit
-- limits: cpu_ms=100
local function last(...)
  local found
  for i = 1, select("#", ...) do found = select(i, ...) end
  return found
end
local list = {}
for i = 1, 100000 do list[i] = i end
return last(table.unpack(list))
