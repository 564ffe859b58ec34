-- expect: cpu-limit
-- limits: cpu_ms=200
-- Integer keys hash to themselves modulo the size: all of these land in one place.
local t = {}
for i = 1, 60000 do t[-i * 65535 * 32767] = true end
while true do for i = 1, 60000 do t[-i * 65535 * 32767] = i end end
