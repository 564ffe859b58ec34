-- expect: bad-response detail~"beyond this script's own paths"
return { headers = { ["Service-Worker-Allowed"] = "/", ["content-type"] = "text/javascript" }, body = "" }
