-- expect: bad-response detail~"in more than 100000 pieces" or timeout
-- because: a busy machine does not get to the last of them in time
return stream(function(write)
  while true do write("x") end
end)
