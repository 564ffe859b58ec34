-- expect: script-error detail~"pattern too complex"
return ("a"):rep(300000):match((".?"):rep(300000))
