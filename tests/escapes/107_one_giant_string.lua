-- expect: memory-limit
return #("x"):rep(1000000000)
