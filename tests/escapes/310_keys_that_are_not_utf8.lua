-- expect: bad-response detail~"not UTF-8"
return { body = { ["\xc0\x80"] = 1 } }
