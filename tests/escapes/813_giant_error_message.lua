-- expect: script-error
-- again: same
error(("long "):rep(1000000))
