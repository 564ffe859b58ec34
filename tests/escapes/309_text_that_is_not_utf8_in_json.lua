-- expect: bad-response detail~"not UTF-8"
return { body = { "\xff\xfe" } }
