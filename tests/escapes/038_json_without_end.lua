-- expect: cpu-limit
-- limits: cpu_ms=100
local list = {}
for i = 1, 10000 do list[i] = i / 3 end
while true do json.decode(json.encode(list)) end
