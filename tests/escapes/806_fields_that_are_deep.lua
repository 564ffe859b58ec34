-- expect: 200 body="ok"
local t = {}
for _ = 1, 100000 do t = { t } end
log.info("deep", { t = t })
log.info(t)
return "ok"
