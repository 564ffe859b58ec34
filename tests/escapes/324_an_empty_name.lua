-- expect: bad-response detail~"is no name of a header"
return { headers = { [""] = "a" } }
