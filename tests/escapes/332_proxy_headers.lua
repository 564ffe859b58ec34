-- expect: bad-response detail~"the server's to set"
return { headers = { ["proxy-authenticate"] = "Basic" } }
