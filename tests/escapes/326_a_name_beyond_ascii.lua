-- expect: bad-response detail~"is no name of a header"
return { headers = { ["x-\xc3\xa9"] = "a" } }
