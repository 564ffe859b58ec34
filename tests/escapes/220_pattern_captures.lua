-- expect: script-error detail~"too many captures"
return ("a"):rep(100):match(("(.)"):rep(64))
