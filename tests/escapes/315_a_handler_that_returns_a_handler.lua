-- expect: bad-response detail~"a function cannot be a response"
return function() return function() return "deeper" end end
