-- expect: bad-response detail~"control character"
return { headers = { x = "a\r\n\r\nb" }, body = stream(function(write) write("c") end) }
