-- expect: bad-response detail~"$.list[2]: NaN cannot be JSON"
return { list = { 1, 0 / 0 } }
