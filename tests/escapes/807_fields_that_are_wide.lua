-- expect: 200 body="ok" log="wide"
local t = {}
for i = 1, 5000 do t["key" .. i] = i end
log.info("wide", t)
return "ok"
