-- expect: bad-response detail~"the server's to set"
return { headers = { upgrade = "h2c" } }
