-- expect: bad-response detail~"both a list and other keys"
return { 1, 2, x = 3 }
