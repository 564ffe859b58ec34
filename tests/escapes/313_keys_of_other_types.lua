-- expect: bad-response detail~"cannot be JSON"
return { body = { [print] = 1, [true] = 2, [{}] = 3 } }
