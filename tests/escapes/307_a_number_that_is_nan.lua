-- expect: bad-response
return 0 / 0
