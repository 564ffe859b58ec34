-- expect: 200 body="ok" log~"xxxx\u2026"
-- limits: log_bytes=200000
log.info(("x"):rep(100000))
return "ok"
