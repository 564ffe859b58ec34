-- expect: script-error detail~"resulting string too large"
return ("xx"):rep(math.maxinteger)
