-- expect: 200 body="ok" log~"\n2026-01-01 ERROR forged"
log.info("x\n2026-01-01 ERROR forged\r\n\27[2J\27[31m\0\7\xff")
return "ok"
