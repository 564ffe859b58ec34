-- expect: bad-response detail~"more than the 6291456 bytes"
return stream(function(write)
  write("before")
  write(("x"):rep(30000000))
end)
