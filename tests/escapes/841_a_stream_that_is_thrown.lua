-- expect: bad-response detail~"cannot be a stream"
error{ status = 200, body = stream(function(write) write("x") end) }
