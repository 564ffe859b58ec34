-- expect: cpu-limit
-- limits: cpu_ms=100
-- The comparator writes to the list that is sorted, for ever.
local list = {}
for i = 1, 100 do list[i] = i end
while true do
  pcall(table.sort, list, function(a, b)
    list[math.random(100)] = math.random(100)
    return (tonumber(a) or 0) < (tonumber(b) or 0)
  end)
end
