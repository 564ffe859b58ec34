-- expect: bad-response detail="the body has more than the 6291456 bytes that are allowed"
return stream(function(write)
  while true do write(("x"):rep(65534)) end
end)
