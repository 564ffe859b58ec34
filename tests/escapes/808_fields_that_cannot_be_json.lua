-- expect: 200 body="ok" log="odd"
local t = { nan = 0 / 0, f = print, bytes = "\xff\xfe", [{}] = 1, ["\xff"] = 2 }
t.t = t
log.info("odd", t)
log.info("odd", "no table")
log.info("odd", { 1, 2, x = 3 })
return "ok"
