-- expect: bad-response detail~"200 to 599"
return { status = 200 + (1 << 32) }
