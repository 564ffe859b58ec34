-- expect: bad-response detail~"$.f: a function cannot be JSON"
return { f = function() end }
