-- expect: script-error detail~"xxxxxxxx"
error(("x"):rep(20000000), 0)
