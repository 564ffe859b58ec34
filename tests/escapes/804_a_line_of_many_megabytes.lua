-- expect: 200 body="ok" log="later"
log.info(("x"):rep(10000000))
log.info("later")
return "ok"
