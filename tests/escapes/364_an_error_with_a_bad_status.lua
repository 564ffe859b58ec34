-- expect: bad-response detail~"200 to 599"
error{ status = 100 }
